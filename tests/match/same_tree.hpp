// SPDX-License-Identifier: MIT
// Whether two conditions are the same, node by node.
#ifndef TESTS_MATCH_SAME_TREE_HPP
#define TESTS_MATCH_SAME_TREE_HPP

#include <cstddef>

#include <runnel/match/condition_node.hpp>

namespace runnel_test {

inline bool same_name(const char* a, const char* b) {
  return a == b || (a != nullptr && b != nullptr && runnel::same_text(a, b));
}
inline bool same_node(const runnel::match::condition_view& a, const runnel::match::condition_view& b, std::size_t i) {
  const runnel::match::condition_node &m = a.nodes[i], &n = b.nodes[i];
  if (m.kind != n.kind || m.yes != n.yes || m.no != n.no) return false;
  if (m.kind == runnel::match::node_kind::both || m.kind == runnel::match::node_kind::either) return m.left == n.left;
  const runnel::match::operand_description &o = m.operand, &p = n.operand;
  if (m.kind == runnel::match::node_kind::has) return o.in_header == p.in_header;
  if (!m.has_operand()) return true;
  if (m.how != n.how || m.inside != n.inside || m.length != n.length || m.values != n.values ||
      m.set.set != n.set.set || !same_name(o.name, p.name) || o.in_header != p.in_header || o.offset != p.offset ||
      o.bits != p.bits || o.value != p.value || o.is_meta != p.is_meta || o.which != p.which ||
      o.is_inner != p.is_inner || o.around != p.around || o.is_masked != p.is_masked)
    return false;
  for (std::size_t w = 0; w < m.words(); ++w)
    if (a.words[m.word + w] != b.words[n.word + w]) return false;
  return true;
}
inline bool same_tree(const runnel::match::condition_view& a, const runnel::match::condition_view& b) {
  if (a.size != b.size) return false;
  for (std::size_t i = 0; i < a.size; ++i)
    if (!same_node(a, b, i)) return false;
  return true;
}

}  // namespace runnel_test

#endif
