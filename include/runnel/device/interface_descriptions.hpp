// SPDX-License-Identifier: MIT
// What a capture says of its interfaces beside how to read their packets: a name, a description, a link type's number.
// draft-ietf-opsawg-pcapng
#ifndef RUNNEL_DEVICE_INTERFACE_DESCRIPTIONS_HPP
#define RUNNEL_DEVICE_INTERFACE_DESCRIPTIONS_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/text.hpp>

namespace runnel {

/// What is said of the interfaces of a capture, by their numbers. About 9 KiB, and no memory beside: an interface whose
/// texts have no room any more is left without.
///
/// A text may come from a file of anybody's: it ends at its first zero, is cut to `max_length` bytes, though not in the
/// middle of a UTF-8 character, and each byte of a control character, which could steer a terminal, becomes a question
/// mark.
class interface_descriptions {
 public:
  /// How many interfaces can have one: the numbers from 0 to below it.
  static constexpr std::size_t max_interfaces = 256;
  /// The longest name and description in bytes.
  static constexpr std::size_t max_length = 127;
  /// The link type of an interface that does not say it.
  static constexpr std::uint16_t no_linktype = 0xffff;

  /// Sets what is known of interface `i`, in place of what was. False when there is no room beside that: it has neither
  /// name nor description then.
  bool set(std::size_t i, bytes name, bytes description, std::uint16_t linktype = no_linktype) noexcept {
    if (i >= max_interfaces) return false;
    const std::uint16_t before = size_;
    entry made{0, 0, linktype};
    const bool fits = add(name, made.name) && add(description, made.description);
    if (!fits) made.name = made.description = 0;
    const bool same = made.linktype == about_[i].linktype && same_text(text_ + made.name, name_of(i)) &&
                      same_text(text_ + made.description, description_of(i));
    if (same || !fits) size_ = before;
    if (same) return fits;
    const entry old = about_[i];
    about_[i] = made;
    remove(old.description);
    remove(old.name);  // which stands before it
    ++changes_;
    return fits;
  }
  /// Forgets all of them, as where a section of a capture begins.
  void clear() noexcept {
    for (entry& e : about_) e = {};
    size_ = 1;
    ++changes_;
  }
  /// What interface `i` is called (if_name); "" when that is not known.
  [[nodiscard]] const char* name_of(std::size_t i) const noexcept {
    return text_ + (i < max_interfaces ? about_[i].name : 0);
  }
  /// What else is said of it (if_description); "" when nothing is.
  [[nodiscard]] const char* description_of(std::size_t i) const noexcept {
    return text_ + (i < max_interfaces ? about_[i].description : 0);
  }
  /// The file's number of its link type, also one that this library does not know.
  [[nodiscard]] std::uint16_t linktype_of(std::size_t i) const noexcept {
    return i < max_interfaces ? about_[i].linktype : no_linktype;
  }
  /// Another number after each change, so that whoever looks on sees that there was one.
  [[nodiscard]] std::uint32_t changes() const noexcept { return changes_; }

 private:
  struct entry {
    std::uint16_t name = 0;  // where it begins in text_
    std::uint16_t description = 0;
    std::uint16_t linktype = no_linktype;
  };

  // Appends it with a zero behind; nothing for an empty one.
  bool add(bytes said, std::uint16_t& at) noexcept {
    std::size_t n = 0;
    while (n < said.size() && n <= max_length && load_u8(said.data() + n) != 0) ++n;
    if (n > max_length)
      for (n = max_length; n != 0 && (load_u8(said.data() + n) & 0xc0u) == 0x80;) --n;
    if (n == 0) return true;
    if (sizeof text_ - size_ <= n) return false;
    at = size_;
    const auto c1 = [&](std::size_t i) {  // U+0080 to U+009F
      return i + 1 < n && load_u8(said.data() + i) == 0xc2 && (load_u8(said.data() + i + 1) & 0xe0u) == 0x80;
    };
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint8_t c = load_u8(said.data() + i);
      const bool steers = c < 0x20 || c == 0x7f || c1(i) || (i != 0 && c1(i - 1));
      text_[size_++] = steers ? '?' : static_cast<char>(c);
    }
    text_[size_++] = '\0';
    return true;
  }
  // Takes out a text that nobody refers to any more; those behind it move up.
  void remove(std::uint16_t at) noexcept {
    if (at == 0) return;
    const auto n = static_cast<std::uint16_t>(__builtin_strlen(text_ + at) + 1);
    size_ = static_cast<std::uint16_t>(size_ - n);
    __builtin_memmove(text_ + at, text_ + at + n, std::size_t{size_} - at);
    for (entry& e : about_) {
      if (e.name > at) e.name = static_cast<std::uint16_t>(e.name - n);
      if (e.description > at) e.description = static_cast<std::uint16_t>(e.description - n);
    }
  }

  std::uint32_t changes_ = 0;
  std::uint16_t size_ = 1;  // of the texts; the first one is empty
  entry about_[max_interfaces] = {};
  char text_[7168] = {};
};

}  // namespace runnel

#endif
