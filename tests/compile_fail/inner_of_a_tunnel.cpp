// SPDX-License-Identifier: MIT
// expect: runnel: inner(...) takes a header field: vxlan::inner(ip::saddr); a tunnel in a tunnel is not looked into
#include <runnel/match.hpp>

using namespace runnel;

#ifdef GOOD
constexpr auto http = gre::inner(tcp::dport) == 80;
#else
constexpr auto http = vxlan::inner(gre::inner(tcp::dport)) == 80;
#endif

bool is_http(const packet& p) { return http(p); }
