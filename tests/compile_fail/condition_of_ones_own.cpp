// SPDX-License-Identifier: MIT
// expect: runnel: this part of an expression has no run-time form: conditions and rule lists are made of fields
// and: first_octet
#include <runnel/match.hpp>

using namespace runnel;

struct first_octet : match::operand<first_octet> {
  using value_type = std::uint8_t;
  static constexpr unsigned bits = 8;
  bool load(const subject& s, std::uint64_t& to) const noexcept {
    if (s.contents.empty()) return false;
    to = load_u8(s.contents.data());
    return true;
  }
};

bool takes(const condition& filter, const packet& p) { return filter(p); }

#ifdef GOOD
bool some(const packet& p) { return takes((ether::daddr & mac("01:00:00:00:00:00")) == mac_address{}, p); }
#else
bool some(const packet& p) { return takes(tcp::dport == 22 && first_octet{} == 2, p); }
#endif
