#include "catalog/etcd/etcd_servers_testing.h"

#include <arpa/inet.h>  // host: free ports
#include <fcntl.h>      // host: the servers' log
#include <gtest/gtest.h>
#include <netinet/in.h>  // host: free ports
#include <signal.h>      // host: servers are processes
#include <sys/prctl.h>   // host: servers are processes
#include <sys/socket.h>  // host: free ports
#include <sys/wait.h>    // host: servers are processes
#include <unistd.h>      // host: servers are processes

#include <filesystem>  // host: the servers' data

namespace corelet::testing {

namespace {

constexpr const char* k_program = "/usr/bin/etcd";

// Taken and let go: all at once, so that no two are the same.
std::vector<u16> free_ports(usize count) {
    std::vector<int> sockets;
    std::vector<u16> ports;
    for (usize i = 0; i < count; ++i) {
        int const socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* const any = reinterpret_cast<sockaddr*>(&address);
        EXPECT_EQ(::bind(socket, any, size), 0);
        EXPECT_EQ(::getsockname(socket, any, &size), 0);
        sockets.push_back(socket);
        ports.push_back(ntohs(address.sin_port));
    }
    for (int socket : sockets) ::close(socket);
    return ports;
}

std::string url(u16 port) {
    return "http://127.0.0.1:" + std::to_string(port);
}

// In the child, so only what is allowed there.
[[noreturn]] void become(char* const* arguments, const char* log) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    int const out = ::open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
    ::execv(arguments[0], arguments);  // host: servers are processes
    ::_exit(127);
}

}  // namespace

EtcdServers::EtcdServers(usize members) : members_(members) {
    directory_ = (std::filesystem::temp_directory_path() / "corelet-etcd-XXXXXX").string();
    EXPECT_NE(::mkdtemp(directory_.data()), nullptr);
    EXPECT_EQ(::access(k_program, X_OK), 0) << "etcd is not installed; scripts/setup-debian.sh installs it";
    auto const ports = free_ports(2 * members);
    for (usize i = 0; i < members; ++i) {
        members_[i].client_port = ports[2 * i];
        members_[i].peer_port = ports[2 * i + 1];
    }
    for (usize i = 0; i < members; ++i) start(i);
}

EtcdServers::~EtcdServers() {
    for (usize i = 0; i < members_.size(); ++i) kill(i);
    std::filesystem::remove_all(directory_);
}

std::vector<Address> EtcdServers::endpoints() const {
    std::vector<Address> out;
    for (const Member& member : members_) out.push_back(Address::tcp("127.0.0.1", member.client_port));
    return out;
}

std::vector<std::string> EtcdServers::arguments(usize index) const {
    auto const name = [](usize i) { return "m" + std::to_string(i); };
    std::string cluster;
    for (usize i = 0; i < members_.size(); ++i)
        cluster += (i == 0 ? "" : ",") + name(i) + "=" + url(members_[i].peer_port);
    std::string const client = url(members_[index].client_port), peer = url(members_[index].peer_port);
    return {k_program,
            "--name=" + name(index),
            "--data-dir=" + directory_ + "/" + name(index),
            "--listen-client-urls=" + client,
            "--advertise-client-urls=" + client,
            "--listen-peer-urls=" + peer,
            "--initial-advertise-peer-urls=" + peer,
            "--initial-cluster=" + cluster};
}

void EtcdServers::start(usize index) {
    Member& member = members_[index];
    if (member.pid != 0) return;
    std::vector<std::string> texts = arguments(index);
    std::vector<char*> pointers;
    for (std::string& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
    std::string const log = directory_ + "/m" + std::to_string(index) + ".log";
    int const pid = ::fork();  // host: servers are processes
    if (pid == 0) become(pointers.data(), log.c_str());
    EXPECT_GT(pid, 0);
    member.pid = std::max(pid, 0);
    member.stopped = false;
}

void EtcdServers::signal(usize index, int number) {
    if (members_[index].pid != 0) ::kill(members_[index].pid, number);  // host: servers are processes
}

void EtcdServers::kill(usize index) {
    signal(index, SIGKILL);
    if (members_[index].pid != 0) ::waitpid(members_[index].pid, nullptr, 0);
    members_[index].pid = 0;
}

void EtcdServers::stop(usize index) {
    signal(index, SIGSTOP);
    members_[index].stopped = true;
}

void EtcdServers::go_on(usize index) {
    if (std::exchange(members_[index].stopped, false)) signal(index, SIGCONT);
}

void EtcdServers::go_on_all() {
    for (usize i = 0; i < members_.size(); ++i) {
        go_on(i);
        start(i);
    }
}

}  // namespace corelet::testing
