// SPDX-License-Identifier: MIT
// A few things in a row, no more than there is room for.
#ifndef RUNNEL_IP_BOUNDED_LIST_HPP
#define RUNNEL_IP_BOUNDED_LIST_HPP

#include <cstddef>  // size_t

namespace runnel::detail {

template <class T, std::size_t Most>
class bounded_list {
 public:
  [[nodiscard]] constexpr const T* begin() const noexcept { return items_; }
  [[nodiscard]] constexpr const T* end() const noexcept { return items_ + size_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr const T& operator[](std::size_t i) const noexcept { return items_[i]; }
  // The first one for which `is` says so; null when there is none.
  template <class Is>
  [[nodiscard]] constexpr T* find(Is is) noexcept {
    for (std::size_t i = 0; i < size_; ++i)
      if (is(items_[i])) return &items_[i];
    return nullptr;
  }
  // Null when there is no room.
  constexpr T* add(const T& item) noexcept {
    if (size_ == Most) return nullptr;
    items_[size_] = item;
    return &items_[size_++];
  }
  // Takes those away for which `is` says so; the others keep their order. Whether there were any.
  template <class Is>
  constexpr bool remove_if(Is is) noexcept {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < size_; ++i)
      if (!is(items_[i])) items_[kept++] = items_[i];
    const bool any = kept != size_;
    size_ = kept;
    return any;
  }

 private:
  T items_[Most]{};
  std::size_t size_ = 0;
};

}  // namespace runnel::detail

#endif
