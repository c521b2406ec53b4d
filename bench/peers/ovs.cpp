// SPDX-License-Identifier: MIT
// Open vSwitch's side of the gateway from memory: its own datapath over DPDK, with connection tracking, without and
// with source NAT. DPDK's net_pcap hands out packets of the same 4096 connections over and over, net_null takes them;
// one thread on one core does all of it, and its counter says how many packets that were in how much of its time. All
// is in its favour: each packet is tracked and sent in one pass through the tables, and no rule looks at the state of a
// connection; there is neither a route, nor a time to live, nor a neighbour; frames are short, because net_pcap copies
// what it hands out, and tracking sums up what it is given. And net_null hands nothing out, as it does unless told:
// what it makes up would be counted as received.
//
// The switch has its own database, sockets and network namespace, all of which go when this program does.
#include <cstdio>   // FILE, fgets, fprintf, popen, pclose
#include <cstdlib>  // _Exit, mkdtemp, setenv, strtod, strtoull
#include <memory>   // unique_ptr
#include <string>   // string
#include <vector>   // vector

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <benchmark/benchmark.h>

#include <runnel/device/pcap_writer.hpp>

#include "support/arrivals.hpp"

namespace {

using namespace bench;

constexpr std::size_t flows = 4096;
constexpr std::uint32_t length = 60;
constexpr const char* program = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";

class open_vswitch {
 public:
  open_vswitch() {
    if (::access(program, X_OK) != 0) fail("is not there: install openvswitch-switch-dpdk");
    if (wanted_pages() == page_size::ordinary) fail("DPDK's datapath is measured on huge pages only");
    const long processors = ::sysconf(_SC_NPROCESSORS_ONLN);
    if (processors < 2) fail("it takes two cores");
    // A bridge of this datapath leaves a TAP device behind.
    if (::unshare(CLONE_NEWNET) != 0) fail("it takes a network namespace of its own: run this as root");
    if (::mkdtemp(folder_.data()) == nullptr) fail("no folder in /tmp");
    for (const char* name : {"OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"})
      ::setenv(name, folder_.c_str(), 1);
    write_capture();

    does("ovsdb-tool create " + folder_ + "/conf.db /usr/share/openvswitch/vswitch.ovsschema");
    database_ = start({"ovsdb-server", folder_ + "/conf.db", "--remote=punix:" + folder_ + "/db.sock",
                       "--unixctl=" + folder_ + "/db.ctl", "-vconsole:off"});
    waits_for(folder_ + "/db.sock");
    does(vsctl_ + "--no-wait init -- set Open_vSwitch . other_config:dpdk-init=true other_config:dpdk-lcore-mask=0x1" +
         " other_config:pmd-cpu-mask=0x" + mask_of(processors - 1) + " other_config:per-port-memory=false" +
         " other_config:dpdk-extra='--no-pci --in-memory --no-telemetry -m 384'");
    switch_ = start({program, "unix:" + folder_ + "/db.sock", "--unixctl=" + folder_ + "/vs.ctl", "-vconsole:off",
                     "--log-file=" + folder_ + "/vs.log"});
    waits_for(folder_ + "/vs.ctl");
    does(vsctl_ + "add-br br0 -- set bridge br0 datapath_type=netdev fail_mode=secure");
    does(vsctl_ + "add-port br0 out -- set Interface out type=dpdk options:dpdk-devargs=net_null0,no-rx=1" +
         " ofport_request=2");
    if (const std::string error = said(vsctl_ + "get Interface out error"); error.find("[]") != 0) fail(error);
  }
  open_vswitch(const open_vswitch&) = delete;
  open_vswitch& operator=(const open_vswitch&) = delete;
  ~open_vswitch() { clean_up(); }

  // Lets packets in, to which the switch does what `actions` say.
  void begin(const std::string& actions) {
    const std::string to_bridge = "ovs-ofctl add-flow unix:" + folder_ + "/br0.mgmt ";
    does("ovs-ofctl del-flows unix:" + folder_ + "/br0.mgmt");
    does(to_bridge + "'in_port=1,ip,actions=" + actions + "'");
    does(appctl_ + "dpctl/flush-conntrack");
    does(vsctl_ + "add-port br0 in -- set Interface in type=dpdk options:n_rxq_desc=1024 ofport_request=1" +
         " options:dpdk-devargs=net_pcap0,rx_pcap=" + folder_ + "/in.pcap,infinite_rx=1");
    if (const std::string error = said(vsctl_ + "get Interface in error"); error.find("[]") != 0) fail(error);
    ::sleep(2);  // the thread takes the port, and learns the flows
  }
  void end() { does(vsctl_ + "del-port br0 in"); }

  // Of the thread that does the work, in seconds.
  double processor_time() {
    const std::string of_thread =
        said("cat $(grep -l '^pmd-' /proc/" + std::to_string(switch_) + "/task/*/comm | sed 's/comm$/schedstat/')");
    const double ns = std::strtod(of_thread.c_str(), nullptr);
    if (ns == 0) fail("has no thread for packets");
    return ns * 1e-9;
  }
  std::uint64_t received() { return number_behind("packets received:", said(appctl_ + "dpif-netdev/pmd-stats-show")); }
  std::uint64_t sent() {
    return number_behind("tx pkts=", said("ovs-ofctl dump-ports unix:" + folder_ + "/br0.mgmt out"));
  }
  std::uint64_t connections() { return number_behind("", said(appctl_ + "dpctl/ct-get-nconns")); }

  [[noreturn]] void fail(const std::string& why) {
    clean_up();
    std::fprintf(stderr, "Open vSwitch: %s\n", why.substr(0, why.find('\n')).c_str());
    std::_Exit(3);
  }

 private:
  static std::string mask_of(long processor) {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%lx", 1ul << processor);
    return digits;
  }
  static std::uint64_t number_behind(const std::string& words, const std::string& in) {
    const std::size_t at = in.find(words);
    return at == std::string::npos ? 0 : std::strtoull(in.c_str() + at + words.size(), nullptr, 10);
  }
  // What a command prints, complaints included.
  std::string said(const std::string& command) {
    std::string all;
    char line[4096];
    FILE* const from = ::popen((command + " 2>&1").c_str(), "r");
    if (from == nullptr) fail("cannot run " + command);
    while (std::fgets(line, sizeof line, from) != nullptr) all += line;
    status_ = ::pclose(from);
    return all;
  }
  void does(const std::string& command) {
    if (const std::string answer = said(command); status_ != 0) fail(command + ": " + answer);
  }
  // A program that ends with this one.
  pid_t start(std::vector<std::string> words) {
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (std::freopen("/dev/null", "w", stdout) != nullptr) ::execvp(arguments[0], arguments.data());
      std::_Exit(127);
    }
    return child;
  }
  void waits_for(const std::string& file) {
    for (int i = 0; i < 200 && ::access(file.c_str(), F_OK) != 0; ++i) ::usleep(50'000);
    if (::access(file.c_str(), F_OK) != 0) fail("does not start");
  }
  void write_capture() {
    auto out = pcap_writer::open((folder_ + "/in.pcap").c_str(), {.format = capture_format::pcap});
    if (!out) fail(out.error().message());
    std::byte whole[1514];
    for (std::size_t i = 0; i < flows; ++i) {
      write_arrival(whole, i, begins::no, length);
      out->write({whole, length}, instant{});
    }
    if (const error* problem = out->close()) fail(problem->message());
  }
  void clean_up() {
    for (const pid_t child : {switch_, database_}) {
      if (child <= 0) continue;
      ::kill(child, SIGTERM);
      ::waitpid(child, nullptr, 0);
    }
    switch_ = database_ = 0;
    if (folder_.find('X') == std::string::npos) (void)said("rm -r " + folder_);
  }

  std::string folder_ = "/tmp/bench-ovs-XXXXXX";
  const std::string vsctl_ = "ovs-vsctl --timeout=30 --db=unix:$OVS_RUNDIR/db.sock ";
  const std::string appctl_ = "ovs-appctl --target=$OVS_RUNDIR/vs.ctl ";
  pid_t database_ = 0, switch_ = 0;
  int status_ = 0;
};

// Half a second for each repetition.
void measure(benchmark::State& state, const char* actions) {
  static const auto ovs = std::make_unique<open_vswitch>();
  ovs->begin(actions);
  if (ovs->connections() != flows) state.SkipWithError("not all connections are there");
  const std::uint64_t sent = ovs->sent();
  std::uint64_t packets = 0;
  for (auto _ : state) {
    const double begin = ovs->processor_time();
    const std::uint64_t before = ovs->received();
    ::usleep(500'000);
    packets += ovs->received() - before;
    state.SetIterationTime(ovs->processor_time() - begin);
  }
  if (ovs->sent() - sent < packets) state.SkipWithError("not every packet was sent");
  ovs->end();
  state.SetItemsProcessed(static_cast<std::int64_t>(packets));
}

BENCHMARK_CAPTURE(measure, track, "ct(commit),output:2")
    ->Name("gateway/4096/ovs_track")
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(measure, snat, "ct(commit,nat(src=203.0.113.1)),output:2")
    ->Name("gateway/4096/ovs_snat")
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
