// SPDX-License-Identifier: MIT
// The name of a type as text, for the drawing of a graph and for traces.
#ifndef RUNNEL_FLOW_TYPE_NAME_HPP
#define RUNNEL_FLOW_TYPE_NAME_HPP

#include <cstddef>  // size_t

namespace runnel::detail {

struct type_text {
  char characters[48] = {};
};

// The last part of a type's name without namespaces and template arguments: what stands between the last "::" and
// the end (or "<") in the text that GCC and Clang make of a function's signature.
template <class T>
consteval type_text make_type_name() {
  const char* text = __PRETTY_FUNCTION__;
  const char* begin = text;
  for (const char* at = text; *at != '\0'; ++at)
    if (at[0] == 'T' && at[1] == ' ' && at[2] == '=' && at[3] == ' ') begin = at + 4;
  type_text result;
  std::size_t size = 0;
  for (const char* at = begin; *at != '\0' && *at != ']' && *at != ';' && *at != '<' && *at != '('; ++at) {
    if (at[0] == ':' && at[1] == ':') {
      size = 0;
      ++at;
    } else if (size + 1 < sizeof result.characters) {
      result.characters[size++] = *at;
    }
  }
  for (std::size_t i = size; i < sizeof result.characters; ++i) result.characters[i] = '\0';
  return result;
}

template <class T>
inline constexpr type_text type_name_storage = make_type_name<T>();

}  // namespace runnel::detail

namespace runnel {

/// The unqualified name of `T`, zero-terminated, at most 47 characters; lambdas and unnamed types give what the
/// compiler calls them.
template <class T>
[[nodiscard]] constexpr const char* type_name() noexcept {
  return detail::type_name_storage<T>.characters;
}

}  // namespace runnel

#endif
