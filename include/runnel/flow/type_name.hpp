// SPDX-License-Identifier: MIT
// The name of a type as text, for the drawing of a graph and for traces.
#ifndef RUNNEL_FLOW_TYPE_NAME_HPP
#define RUNNEL_FLOW_TYPE_NAME_HPP

#include <cstddef>  // size_t

namespace runnel::detail {

struct type_text {
  char characters[48] = {};
};

// The last part of a type's name without namespaces and template arguments: what stands behind the last "::" in the
// text that GCC and Clang make of a function's signature. What is in brackets of any kind is passed over: arguments,
// and the
// "(anonymous namespace)" and "main()" in front of local types.
template <class T>
consteval type_text make_type_name() {
  const char* at = __PRETTY_FUNCTION__;
  while (!(at[0] == 'T' && at[1] == ' ' && at[2] == '=' && at[3] == ' ')) ++at;
  type_text result;
  std::size_t size = 0;
  unsigned depth = 0;
  for (at += 4; *at != '\0' && (depth != 0 || (*at != ']' && *at != ';')); ++at) {
    if (*at == '<' || *at == '(' || *at == '{') {
      ++depth;
    } else if (*at == '>' || *at == ')' || *at == '}') {
      --depth;
    } else if (depth != 0) {
      continue;
    } else if (at[0] == ':' && at[1] == ':') {
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

/// The unqualified name of `T`, zero-terminated, at most 47 characters; empty for lambdas and unnamed types.
template <class T>
[[nodiscard]] constexpr const char* type_name() noexcept {
  return detail::type_name_storage<T>.characters;
}

}  // namespace runnel

#endif
