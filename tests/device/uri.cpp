// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <string>

#include <runnel/device/uri.hpp>

using namespace runnel;
using runnel::detail::device_uri;
using runnel::detail::uri_choice;

namespace {

enum class colour { red, green };
constexpr uri_choice<colour> colours[] = {{"red", colour::red}, {"green", colour::green}};

struct settings {
  bool flag = false, other = true;
  unsigned number = 7;
  colour paint = colour::red;
  const char* word = nullptr;
  duration time{1};
  std::uint64_t rate = 1, bits = 1;
  std::uint32_t share = 1;
  mac_address mac{};

  const error* from(device_uri& u) {
    u.flag("flag", flag).flag("other", other).number("number", number, 5, 1000).choice("colour", paint, colours);
    u.word("word", word).time("time", time).rate("rate", rate).bits("bits", bits).share("share", share);
    return u.mac("mac", mac).problem();
  }
};

std::string problem(const std::string& text) {
  device_uri u(text.c_str());
  settings r;
  const error* e = r.from(u);
  return e != nullptr ? e->message() : "nothing";
}
bool says(const char* option, const char* why) {
  const std::string all = problem(std::string("test:name?") + option);
  CAPTURE(all);
  const bool right = all == std::string("open: test name: ") + why;
  CHECK(right);
  return right;
}

}  // namespace

TEST_CASE("a device string is a kind, a name, and options, each of which may be left out") {
  device_uri plain("tap:tap0");
  CHECK(same_text(plain.kind(), "tap"));
  CHECK(same_text(plain.name(), "tap0"));
  CHECK(plain.problem() == nullptr);
  device_uri bare("null:");
  CHECK(same_text(bare.kind(), "null"));
  CHECK(same_text(bare.name(), ""));
  CHECK(bare.problem() == nullptr);
  device_uri path("pcap:C:/a=b&c.pcap?");
  CHECK(same_text(path.name(), "C:/a=b&c.pcap"));
  CHECK(path.problem() == nullptr);
}

TEST_CASE("options are read where they are there, and left alone where not") {
  device_uri none("test:name");
  settings r;
  REQUIRE(r.from(none) == nullptr);
  CHECK_FALSE(r.flag);
  CHECK(r.other);
  CHECK(r.number == 7);
  CHECK(r.word == nullptr);
  device_uri all(
      "test:name?flag&other=no&number=1000&colour=green&word=x=y&time=20ms&rate=3G&bits=0,5,63&share=0.25%&"
      "mac=02:00:00:00:00:01");
  REQUIRE(r.from(all) == nullptr);
  CHECK(r.flag);
  CHECK_FALSE(r.other);
  CHECK(r.number == 1000);
  CHECK(r.paint == colour::green);
  CHECK(same_text(r.word, "x=y"));
  CHECK(r.time == milliseconds(20));
  CHECK(r.rate == 3'000'000'000);
  CHECK(r.bits == (1ull << 63 | 1ull << 5 | 1));
  CHECK(r.share == 2500);
  CHECK(r.mac == mac_address{{2, 0, 0, 0, 0, 1}});
  device_uri more("test:name?flag=yes&bits=all&share=100%&rate=5&time=1000000000s");
  REQUIRE(r.from(more) == nullptr);
  CHECK(r.flag);
  CHECK(r.bits == ~std::uint64_t{0});
  CHECK(r.share == 1'000'000);
  CHECK(r.rate == 5);
  CHECK(r.time == seconds(1'000'000'000));
}

TEST_CASE("a string that is none says why") {
  CHECK(problem("") == "open: read: it names no kind of device: write kind:name?option=value, as in af_packet:eth0");
  CHECK(problem("eth0") ==
        "open: read eth0: it names no kind of device: write kind:name?option=value, as in af_packet:eth0");
  CHECK(problem(":eth0") ==
        "open: read :eth0: it names no kind of device: write kind:name?option=value, as in af_packet:eth0");
  const std::string longest = "test:" + std::string(250, 'x');
  CHECK(problem(longest) == "nothing");
  CHECK(problem(longest + 'x') ==
        "open: read test:" + std::string(58, 'x') + ": it is too long: a device has at most 255 characters");
  CHECK(problem("test:name?=5") == "open: test name: an option has no name: write kind:name?option=value&option=value");
  CHECK(problem("test:name?flag&&flag") ==
        "open: test name: an option has no name: write kind:name?option=value&option=value");
  CHECK(problem("test:name?flag&flag=no") == "open: test name: an option is given twice: flag");
  CHECK(problem("test:name?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q") ==
        "open: test name: it has too many options: there can be 16");
}

TEST_CASE("a value that is not right says what would be") {
  says("flag=maybe", "flag cannot be 'maybe': give yes or no");
  says("flag=", "flag cannot be '': give yes or no");
  for (const char* wrong : {"4", "1001", "", "-5", "x", "5x", "0x10", "99999999999999999999"}) {
    says((std::string("number=") + wrong).c_str(),
         (std::string("number cannot be '") + wrong + "': give a number from 5 to 1000").c_str());
  }
  says("number", "number cannot be '': give a number from 5 to 1000");
  says("colour=blue", "colour cannot be 'blue': there are red, green");
  says("word=", "word cannot be '': give it a value");
  for (const char* wrong : {"20", "ms", "20m", "1000000001ns", "1.5s"}) {
    says((std::string("time=") + wrong).c_str(),
         (std::string("time cannot be '") + wrong + "': give a time like 20ms: a number up to 10^9 and ns, us, ms or s")
             .c_str());
  }
  for (const char* wrong : {"M", "10K", "10MM", "1000000001"}) {
    says((std::string("rate=") + wrong).c_str(),
         (std::string("rate cannot be '") + wrong +
          "': give bits per second, like 10M: a number up to 10^9, and k, M or G")
             .c_str());
  }
  for (const char* wrong : {"1", "101%", "100.0001%", "0.00001%", "%", "1%%", ".5%"}) {
    says((std::string("share=") + wrong).c_str(),
         (std::string("share cannot be '") + wrong +
          "': give a share like 0.5%: up to 100%, at most four digits behind the point")
             .c_str());
  }
  for (const char* wrong : {"64", "1,", ",1", "1-3", "", "all,1"}) {
    says((std::string("bits=") + wrong).c_str(),
         (std::string("bits cannot be '") + wrong + "': give all, or numbers below 64 with commas between them")
             .c_str());
  }
  says("mac=02:00:00:00:00", "mac cannot be '02:00:00:00:00': give an address like 02:00:00:00:00:01");
}

TEST_CASE("an option that nobody knows is an error that lists those that there are; the first error wins") {
  says("flg", "there is no option 'flg': there are flag, other, number, colour, word, time, rate, bits, share, mac");
  says("flg&number=0", "number cannot be '0': give a number from 5 to 1000");
  device_uri u("test:name?flag");
  const error* e = u.problem();
  REQUIRE(e != nullptr);
  CHECK(same_text(e->message(), "open: test name: there is no option 'flag': it has none"));
}

TEST_CASE("any bytes are read or refused") {
  // Short strings over the characters that mean something.
  const char alphabet[] = {'a', ':', '?', '=', '&', '%', ',', '1'};
  std::string text;
  unsigned refused = 0;
  for (unsigned n = 0; n < 8u * 8 * 8 * 8 * 8; ++n) {
    text = "t:n?";
    for (unsigned i = 0, rest = n; i < 5; ++i, rest /= 8) text += alphabet[rest % 8];
    device_uri u(text.c_str());
    settings r;
    if (r.from(u) != nullptr) ++refused;
  }
  // All but "t:n?" with flags that it has, none of which begins with these letters.
  CHECK(refused == 8u * 8 * 8 * 8 * 8);
}
