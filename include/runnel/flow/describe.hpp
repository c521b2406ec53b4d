// SPDX-License-Identifier: MIT
// Draws the graph of a pipeline, as text for a terminal, as Mermaid, or as DOT, with its live counters.
#ifndef RUNNEL_FLOW_DESCRIBE_HPP
#define RUNNEL_FLOW_DESCRIBE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

#include <runnel/base/text.hpp>
#include <runnel/flow/pipeline.hpp>

namespace runnel {

/// How a graph is drawn.
enum class drawing : std::uint8_t {
  text,     ///< an indented tree, for a terminal
  mermaid,  ///< a Mermaid flowchart, as Markdown viewers show it
  dot,      ///< Graphviz
};

/// What of the counters is drawn.
enum class show : std::uint8_t { names, counters };

namespace detail {

// `drop 12 (blocklist 7, policy 5); tx 3`: what did not go on at a stage, the four most frequent causes first. Nothing
// when everything went on.
inline void print_losses(text_writer& out, const stage_counters& c, const char* before) noexcept {
  std::uint64_t lost = 0;
  for (const std::uint64_t r : c.reasons) lost += r;
  const char* separator = before;
  if (lost != 0) {
    (out << separator << "drop ").grouped(lost);
    separator = " (";
    bool shown[drop_reason_count] = {};
    std::uint64_t left = lost;
    for (unsigned rank = 0; rank < 4 && left != 0; ++rank) {
      std::size_t most = 0;
      for (std::size_t i = 1; i < drop_reason_count; ++i)
        if (!shown[i] && (shown[most] || c.reasons[i] > c.reasons[most])) most = i;
      shown[most] = true;
      left -= c.reasons[most];
      (out << separator << name(static_cast<drop_reason>(most)) << ' ').grouped(c.reasons[most]);
      separator = ", ";
    }
    if (left != 0) (out << ", others ").grouped(left);
    out << ')';
    separator = "; ";
  }
  for (const verdict_code code : {verdict_code::tx, verdict_code::redirect, verdict_code::stolen}) {
    if (c.count(code) == 0) continue;
    (out << separator << name(code) << ' ').grouped(c.count(code));
    separator = "; ";
  }
}

// Pipelines that several ways share are drawn where they are met first, and named after that.
class shared_pipelines {
 public:
  // The number of a pipeline, from 1; `first` says whether it was not seen before. 0 when too many are shared.
  std::size_t number_of(const void* pipeline, bool& first) noexcept {
    for (std::size_t i = 0; i < count_; ++i)
      if (known_[i] == pipeline) {
        first = false;
        return i + 1;
      }
    first = true;
    if (count_ == sizeof known_ / sizeof *known_) return 0;
    known_[count_++] = pipeline;
    return count_;
  }

 private:
  const void* known_[32] = {};
  std::size_t count_ = 0;
};

class text_drawing {
 public:
  text_drawing(text_writer& out, show what) noexcept : out_(&out), what_(what) {}

  template <class List>
  void draw(const List& list, const char* prefix) noexcept {
    if constexpr (List::size != 0) {
      text<64> label;
      print_name(label, list.stage, "stage");
      *out_ << prefix << label.c_str();
      if constexpr (std::same_as<decltype(List::counters), stage_counters>) {
        if (what_ == show::counters) {
          out_->pad_to(columns(prefix) + 40 > 52 ? 60 : 44);
          out_->grouped(list.counters.packets) << " packets";
          print_losses(*out_, list.counters, "  ");
        }
      }
      if constexpr (requires { list.stage.target->stages(); }) {
        bool first = false;
        (*out_ << " #").grouped(shared_.number_of(list.stage.target, first));
        *out_ << (first ? "" : " (drawn above)") << '\n';
        if (first) draw(list.stage.target->stages(), prefix);
      } else {
        *out_ << '\n';
      }
      if constexpr (requires { list.stage.connections(); }) {
        std::size_t left = list.stage.connections().size;
        list.stage.connections().visit([&](const auto& way) {
          using connection = std::remove_cvref_t<decltype(way)>;
          draw_way(way_name<typename connection::way>(), way.path.stages(), prefix, --left == 0);
        });
      }
      if constexpr (requires { list.stage.path.stages(); }) draw_way("copy", list.stage.path.stages(), prefix, false);
      draw(list.rest, prefix);
    }
  }

 private:
  template <class List>
  void draw_way(const char* name, const List& list, const char* prefix, bool last) noexcept {
    *out_ << prefix << (last ? "`- " : "|- ") << name << '\n';
    text<128> inner;
    inner << prefix << (last ? "      " : "|     ");
    draw(list, inner.c_str());
  }
  static std::size_t columns(const char* s) noexcept {
    std::size_t n = 0;
    while (s[n] != '\0') ++n;
    return n;
  }

  text_writer* out_;
  show what_;
  shared_pipelines shared_;
};

class graph_drawing {
 public:
  graph_drawing(text_writer& out, show what, drawing kind) noexcept : out_(&out), what_(what), kind_(kind) {}

  // Draws a list behind node `from`, on an edge called `edge`.
  template <class List>
  void draw(const List& list, std::size_t from, const char* edge) noexcept {
    if constexpr (List::size != 0) {
      if constexpr (requires { list.stage.target->stages(); }) {
        bool first = false;
        const std::size_t number = shared_.number_of(list.stage.target, first);
        if (first) {
          first_node_[number] = nodes_ + 1;
          draw(list.stage.target->stages(), from, edge);
        } else {
          connect(from, first_node_[number], edge);
        }
        return;
      }
      const std::size_t me = ++nodes_;
      text<64> stage_name;
      print_name(stage_name, list.stage, "stage");
      text<256> label;
      write_escaped(label, stage_name.c_str());
      if constexpr (std::same_as<decltype(List::counters), stage_counters>) {
        if (what_ == show::counters) {
          (label << (kind_ == drawing::dot ? "\\n" : "<br/>")).grouped(list.counters.packets) << " packets";
          print_losses(label, list.counters, kind_ == drawing::dot ? "\\n" : "<br/>");
        }
      }
      node(me, label.c_str());
      if (from != 0) connect(from, me, edge);
      if constexpr (requires { list.stage.connections(); }) {
        list.stage.connections().visit([&](const auto& way) {
          using connection = std::remove_cvref_t<decltype(way)>;
          draw(way.path.stages(), me, way_name<typename connection::way>());
        });
      }
      if constexpr (requires { list.stage.path.stages(); }) draw(list.stage.path.stages(), me, "copy");
      draw(list.rest, me, "");
    }
  }

 private:
  // A name may hold what means something in the language of the drawing.
  void write_escaped(text_writer& to, const char* name) const noexcept {
    for (; *name != '\0'; ++name) {
      const char c = *name;
      if (kind_ == drawing::dot && (c == '"' || c == '\\')) to << '\\' << c;
      else if (kind_ == drawing::mermaid && c == '"') to << "#quot;";
      else if (kind_ == drawing::mermaid && c == '<') to << "#lt;";
      else if (kind_ == drawing::mermaid && c == '>') to << "#gt;";
      else if (kind_ == drawing::mermaid && c == '&') to << "#amp;";
      else if (kind_ == drawing::mermaid && c == '#') to << "#35;";
      else to << c;
    }
  }
  void node(std::size_t id, const char* label) noexcept {
    *out_ << "  n" << std::uint64_t{id} << (kind_ == drawing::dot ? " [label=\"" : "[\"") << label
          << (kind_ == drawing::dot ? "\"];\n" : "\"]\n");
  }
  void connect(std::size_t from, std::size_t to, const char* label) noexcept {
    *out_ << "  n" << std::uint64_t{from};
    if (kind_ == drawing::dot) {
      *out_ << " -> n" << std::uint64_t{to};
      if (*label != '\0') *out_ << " [label=\"" << label << "\"]";
      *out_ << ";\n";
    } else {
      *out_ << " -->";
      if (*label != '\0') *out_ << '|' << label << '|';
      *out_ << " n" << std::uint64_t{to} << '\n';
    }
  }

  text_writer* out_;
  show what_;
  drawing kind_;
  shared_pipelines shared_;
  std::size_t nodes_ = 0;
  std::size_t first_node_[33] = {};
};

}  // namespace detail

namespace detail {
// Calls `visit(list)` for every stage that is counted, with the stage and its counters in front, in the order in which
// they are drawn; for those of a shared pipeline once.
template <class List, class Visitor>
void for_each_counted(const List& list, Visitor& visit, shared_pipelines& seen) noexcept {
  if constexpr (List::size != 0) {
    if constexpr (std::same_as<decltype(List::counters), stage_counters>) visit(list);
    if constexpr (requires { list.stage.target->stages(); }) {
      bool first = false;
      (void)seen.number_of(list.stage.target, first);
      if (first) for_each_counted(list.stage.target->stages(), visit, seen);
    }
    if constexpr (requires { list.stage.connections(); })
      list.stage.connections().visit([&](const auto& way) { for_each_counted(way.path.stages(), visit, seen); });
    if constexpr (requires { list.stage.path.stages(); }) for_each_counted(list.stage.path.stages(), visit, seen);
    for_each_counted(list.rest, visit, seen);
  }
}
}  // namespace detail

/// The counters of a pipeline and all that hangs on it, added up: `packets` and `bytes` are what came into its first
/// stage, verdicts and reasons those of all stages together, of copies behind a tee as well (so `passed()` means
/// nothing here). A pipeline that is shared counts once, as long as there are no more than 32 of them.
template <class Counters, class... Stages>
[[nodiscard]] stage_counters totals(const pipeline<Counters, Stages...>& p) noexcept {
  stage_counters sum;
  if constexpr (std::same_as<Counters, stage_counters> && sizeof...(Stages) != 0)
    sum.add(p.stages().counters.packets, p.stages().counters.bytes);
  detail::shared_pipelines seen;
  auto add = [&sum](const auto& list) {
    for (std::size_t i = 0; i < drop_reason_count; ++i) sum.reasons[i] += list.counters.reasons[i];
    for (std::size_t i = 0; i < verdict_code_count; ++i) sum.verdicts[i] += list.counters.verdicts[i];
  };
  detail::for_each_counted(p.stages(), add, seen);
  return sum;
}

/// Calls `f(name, counters)`, a text and `const stage_counters&`, for each stage of a pipeline and of all that hangs on
/// it, in the order in which they are drawn: for who exports them. The text is gone afterwards, and may be that of
/// several stages. Stages of a pipeline that is shared come once, as long as there are no more than 32 of these; what
/// is `uncounted` does not come.
template <class Counters, class... Stages, class F>
void for_each_stage(const pipeline<Counters, Stages...>& p, F f) noexcept {
  detail::shared_pipelines seen;
  auto tell = [&f](const auto& list) {
    text<64> label;
    detail::print_name(label, list.stage, "stage");
    f(static_cast<const char*>(label.c_str()), list.counters);
  };
  detail::for_each_counted(p.stages(), tell, seen);
}

/// The counters of the stage that is drawn as `name`, in a pipeline or what hangs on it: the first, when there are
/// several. Null when there is none, or it is not counted. They are live: read them between two rounds of the loop, as
/// often as you like, as long as the pipeline is there.
template <class Counters, class... Stages>
[[nodiscard]] const stage_counters* find_stage(const pipeline<Counters, Stages...>& p, const char* name) noexcept {
  const stage_counters* found = nullptr;
  bool seen = false;
  auto look = [&](const auto& list) {
    if (seen) return;
    text<64> label;
    detail::print_name(label, list.stage, "stage");
    seen = same_text(label.c_str(), name);
    if constexpr (std::same_as<std::remove_cvref_t<decltype(list.counters)>, stage_counters>)
      if (seen) found = &list.counters;
  };
  detail::for_each_stage(p.stages(), look);
  return found;
}

/// Draws a pipeline with all that hangs on it. Give `out` a flush function when the drawing may be longer than its
/// buffer. Reads the counters as they are; safe between two rounds of the loop.
template <class Counters, class... Stages>
void describe(text_writer& out, const pipeline<Counters, Stages...>& p, drawing kind = drawing::text,
              show what = show::counters) noexcept {
  if (kind == drawing::text) {
    detail::text_drawing{out, what}.draw(p.stages(), "");
    return;
  }
  out << (kind == drawing::dot ? "digraph pipeline {\n  node [shape=box];\n" : "flowchart TD\n");
  detail::graph_drawing{out, what, kind}.draw(p.stages(), 0, "");
  if (kind == drawing::dot) out << "}\n";
}

}  // namespace runnel

#endif
