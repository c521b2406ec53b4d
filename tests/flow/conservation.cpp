// SPDX-License-Identifier: MIT
// Every packet that comes in goes out by one way or is counted as dropped, whatever the stages decide; and packets of
// one flow stay in order. Random verdicts over random bursts, the same in every run.
#include <flow/test_device.hpp>
#include <wire/wire_bytes.hpp>

#include <runnel/xdp.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

using runnel_test::xorshift;

struct left {};
struct right {};
struct middle {};

// Random decisions, of which the stage remembers how many it made of each kind.
struct chance {
  xorshift* random;
  unsigned percent;  // of the packets that do not pass
  std::vector<packet>* stolen_packets;
  std::uint64_t* taken;

  bool hit() { return random->below(100) < percent; }
  verdict pick(packet& p) {
    if (!hit()) return pass;
    switch (random->below(4)) {
      case 0: return drop;
      case 1: return drop(drop_reason::blocklist);
      case 2: return tx;
      default:
        stolen_packets->push_back(static_cast<packet&&>(p));
        if (stolen_packets->size() > 4) stolen_packets->clear();
        ++*taken;
        return stolen;
    }
  }
};

// Sums of everything that a pipeline's stages counted, with all that hangs on it.
struct tally {
  std::uint64_t dropped = 0, sent_back = 0, stolen = 0, redirected = 0;
  std::uint64_t in = 0, passed_at_ends = 0;
  bool consistent = true;
};
template <class List>
void add_up(const List& list, tally& sum) {
  if constexpr (List::size != 0) {
    const stage_counters& c = list.counters;
    sum.dropped += c.count(verdict_code::drop) + c.count(verdict_code::aborted);
    sum.sent_back += c.count(verdict_code::tx);
    sum.stolen += c.count(verdict_code::stolen);
    sum.redirected += c.count(verdict_code::redirect);
    std::uint64_t reasons = 0;
    for (std::uint64_t r : c.reasons) reasons += r;
    sum.consistent = sum.consistent && reasons == c.count(verdict_code::drop) + c.count(verdict_code::aborted) &&
                     c.bytes == c.packets * 60;
    if constexpr (requires { list.stage.connections(); }) {
      std::uint64_t on_ways = 0;
      list.stage.connections().visit([&](const auto& way) {
        on_ways += way.path.stages().counters.packets;
        add_up(way.path.stages(), sum);
      });
      sum.consistent = sum.consistent && on_ways == c.passed();
    }
    if constexpr (List::rest_list::size != 0)
      sum.consistent = sum.consistent && list.rest.counters.packets == c.passed();
    else if constexpr (List::first_stage::kind == stage_kind::end) sum.passed_at_ends += c.passed();
    add_up(list.rest, sum);
  }
}

}  // namespace

TEST_CASE("what comes in is what goes out and what is counted, and flows stay in order") {
  for (unsigned round = 0; round < 60; ++round) {
    CAPTURE(round);
    counted_pool memory{pool_config{.packets = 700, .bytes = 128, .headroom = 16, .bare = 64}};
    xorshift random;
    random.state += round * 7919u;
    test_device wire{memory}, elsewhere{memory};
    std::vector<packet> stolen_packets;
    std::uint64_t taken = 0, arrived = 0;
    constexpr unsigned flows = 8;
    unsigned last[flows] = {};
    bool in_order = true;
    auto arrive = [&] {
      return deliver([&](packet p) {
        // Which way a packet goes, and whether it is dropped, depends on its flow or on chance; its order does not.
        const unsigned n = number_of(p);
        in_order = in_order && n > last[n % flows];
        last[n % flows] = n;
        ++arrived;
      });
    };
    const unsigned percent = round % 3 == 0 ? 0 : round % 3 == 1 ? 5 : 50;
    auto each = [&] {
      return [c = chance{&random, percent, &stolen_packets, &taken}](packet& p) mutable { return c.pick(p); };
    };
    queue<drop_tail, 512> q;
    auto path = xdp(
                    [&](const frame&) -> verdict {
                      if (random.below(100) >= percent) return pass;
                      const std::size_t r = random.below(4);
                      return r == 0 ? drop : r == 1 ? tx : r == 2 ? redirect(0) : redirect(1);
                    },
                    elsewhere) |
                parse() | each() | each() |
                [&](burst& b) {
                  chance c{&random, percent, &stolen_packets, &taken};
                  for (std::size_t i = 0; i < b.size(); ++i) {
                    const verdict v = c.pick(b[i]);
                    if (v.code != verdict_code::stolen) b.verdict_on(i) = v;
                  }
                } |
                each() |
                branch([&](packet& p) -> ports<left, middle, right> {
                  chance c{&random, percent / 2, &stolen_packets, &taken};
                  if (const verdict v = c.pick(p); v.code != verdict_code::pass) return v;
                  switch (number_of(p) % flows % 3) {
                    case 0: return left{};
                    case 1: return middle{};
                    default: return right{};
                  }
                })
                    .on<left>(each() | arrive())
                    .on<middle>(enqueue(q))
                    .on<right>([](ipv4) {} | branch([](packet& p) -> ports<left, right> {
                                               if (number_of(p) % flows == 2) return left{};
                                               return right{};
                                             })
                                                 .on<left>(arrive())
                                                 .on<right>(each() | arrive()));
    const unsigned total = 1 + static_cast<unsigned>(random.below(400));
    wire.several(1, total);
    switch (round % 4) {
      case 0: run(attach<1>(wire, path)); break;
      case 1: run(attach<7>(wire, path)); break;
      case 2: run(attach<64>(wire, path)); break;
      default: run(attach<256>(wire, path)); break;
    }
    const std::size_t queued = q.size();
    run(attach(q, arrive()));

    tally sum;
    add_up(path.stages(), sum);
    CHECK(in_order);
    CHECK(sum.consistent);
    CHECK(path.stages().counters.packets == total);
    CHECK(sum.dropped + sum.sent_back + sum.redirected + sum.stolen + sum.passed_at_ends == total);
    CHECK(sum.passed_at_ends == arrived);
    CHECK(queued <= arrived);
    CHECK(sum.stolen == taken);
    CHECK(sum.sent_back == wire.sent.count());
    CHECK(sum.redirected == elsewhere.sent.count());
    if (percent == 0) CHECK(arrived == total);
  }
}
