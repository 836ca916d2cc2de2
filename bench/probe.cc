// What one step of a write costs on this machine, done by itself and in the plainest way: a round trip over
// loopback and over a unix socket between two processes, and a durable 4 KiB write. Prints one JSON object, medians
// in microseconds.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr size_t k_request_bytes = 4096 + 128;  // a block and what names it
constexpr size_t k_reply_bytes = 64;
constexpr size_t k_block_bytes = 4096;
constexpr size_t k_file_bytes = size_t{64} << 20;

double now_us() {
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

[[noreturn]] void die(const char* what) {
    std::perror(what);
    std::exit(1);
}

double median(std::vector<double> samples) {
    auto const middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
    std::nth_element(samples.begin(), middle, samples.end());
    return *middle;
}

bool read_all(int fd, char* to, size_t bytes) {
    while (bytes > 0) {
        ssize_t const got = ::read(fd, to, bytes);
        if (got <= 0) return false;
        to += got;
        bytes -= static_cast<size_t>(got);
    }
    return true;
}

void serve(int fd) {
    std::vector<char> request(k_request_bytes), reply(k_reply_bytes);
    while (read_all(fd, request.data(), request.size()))
        if (::write(fd, reply.data(), reply.size()) != static_cast<ssize_t>(reply.size())) return;
}

double ask(int fd, int count) {
    std::vector<char> request(k_request_bytes), reply(k_reply_bytes);
    std::vector<double> samples;
    for (int i = 0; i < count; ++i) {
        double const began = now_us();
        if (::write(fd, request.data(), request.size()) != static_cast<ssize_t>(request.size())) die("write");
        if (!read_all(fd, reply.data(), reply.size())) die("read");
        samples.push_back(now_us() - began);
    }
    return median(std::move(samples));
}

// The median of a round trip to another process over the two ends.
double round_trip(int here, int there, int count) {
    pid_t const child = ::fork();
    if (child < 0) die("fork");
    if (child == 0) {
        ::close(here);
        serve(there);
        ::_exit(0);
    }
    ::close(there);
    double const result = ask(here, count);
    ::close(here);
    ::waitpid(child, nullptr, 0);
    return result;
}

double unix_round_trip(int count) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) die("socketpair");
    return round_trip(ends[0], ends[1], count);
}

double loopback_round_trip(int count) {
    int const listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const raw = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener, raw, size) != 0 || ::listen(listener, 1) != 0 || ::getsockname(listener, raw, &size) != 0)
        die("listen");
    int const here = ::socket(AF_INET, SOCK_STREAM, 0);
    if (::connect(here, raw, size) != 0) die("connect");
    int const there = ::accept(listener, nullptr, nullptr);
    int const on = 1;
    for (int const fd : {here, there}) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::close(listener);
    return round_trip(here, there, count);
}

// Written once before, as a log's space is.
double durable_write(const std::string& directory, int count) {
    std::string const path = directory + "/probe.file";
    int const fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_DSYNC | O_CLOEXEC, 0600);
    if (fd < 0) die(path.c_str());
    ::unlink(path.c_str());
    size_t const step = size_t{1} << 20;
    char* const memory = static_cast<char*>(std::aligned_alloc(k_block_bytes, step));
    std::memset(memory, 0, step);
    for (size_t at = 0; at < k_file_bytes; at += step)
        if (::pwrite(fd, memory, step, static_cast<off_t>(at)) != static_cast<ssize_t>(step)) die("pwrite");
    std::vector<double> samples;
    for (int i = 0; i < count; ++i) {
        auto const at = static_cast<off_t>(static_cast<size_t>(i) * k_block_bytes % k_file_bytes);
        double const began = now_us();
        if (::pwrite(fd, memory, k_block_bytes, at) != static_cast<ssize_t>(k_block_bytes)) die("pwrite");
        samples.push_back(now_us() - began);
    }
    std::free(memory);
    ::close(fd);
    return median(std::move(samples));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: bench_probe DIRECTORY [COUNT]\n");
        return 2;
    }
    int const count = argc > 2 ? std::max(1, std::atoi(argv[2])) : 5000;
    double const loopback = loopback_round_trip(count);
    double const local = unix_round_trip(count);
    double const disk = durable_write(argv[1], count);
    std::printf("{\"loopback_us\": %.1f, \"unix_us\": %.1f, \"durable_write_us\": %.1f}\n", loopback, local, disk);
    return 0;
}
