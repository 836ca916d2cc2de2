#include "app/tool/process.h"

#include <fcntl.h>              // host: a lab is made of processes
#include <linux/close_range.h>  // host: as above
#include <sched.h>              // host: as above
#include <signal.h>             // host: as above
#include <sys/wait.h>           // host: as above
#include <unistd.h>             // host: as above

#include <cerrno>
#include <cstring>

#include "app/tool/bay_config.h"
#include "app/tool/corelet_directory.h"
#include "os/descriptor.h"
#include "os/errors.h"

namespace corelet::app {

namespace {

std::vector<std::string> command_line(const std::string& pid) {
    std::vector<std::string> out;
    auto const text = read_file("/proc/" + pid + "/cmdline");
    if (!text) return out;
    for (usize at = 0; at < text->size();) {
        usize const end = std::min(text->find('\0', at), text->size());
        out.push_back(text->substr(at, end - at));
        at = end + 1;
    }
    return out;
}

// The letter of the process's state, as in proc(5).
char state_of(const std::string& pid) {
    auto const text = read_file("/proc/" + pid + "/stat");
    if (!text) return 'X';
    usize const name_end = text->rfind(')');
    return name_end == std::string::npos || name_end + 2 >= text->size() ? 'X' : (*text)[name_end + 2];
}

enum class Serving : u8 { kCorelet, kBays };

// The directory that a `corelet serve` serves, or keeps bays in; empty for any other process.
std::string served_directory(const std::vector<std::string>& arguments, Serving what) {
    if (arguments.empty() || !arguments[0].ends_with("corelet")) return {};
    bool serves = false;
    bool keeps = false;
    std::string directory;
    for (usize i = 1; i < arguments.size(); ++i) {
        serves = serves || arguments[i] == "serve";
        keeps = keeps || arguments[i] == "--bays" || arguments[i].starts_with("--bays=");
        if (arguments[i] == "--dir" && i + 1 < arguments.size()) directory = arguments[i + 1];
    }
    bool const wanted = serves && keeps == (what == Serving::kBays);
    return wanted && !directory.empty() ? absolute_path(directory) : std::string();
}

std::map<std::string, RunningCorelet> find_serving(Serving what) {
    std::map<std::string, RunningCorelet> out;
    for (const std::string& name : list_directory("/proc")) {
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        std::string const directory = served_directory(command_line(name), what);
        if (directory.empty()) continue;
        char const state = state_of(name);
        if (state == 'Z' || state == 'X') continue;
        out[directory] = RunningCorelet{std::stoi(name), state == 'T'};
    }
    return out;
}

std::string own_program() {
    std::string path(4096, '\0');
    ssize_t const n = ::readlink("/proc/self/exe", path.data(), path.size());
    if (n <= 0) return "/proc/self/exe";
    path.resize(static_cast<usize>(n));
    return file_exists(path) ? path : "/proc/self/exe";
}

// In the child, between fork and exec: only calls that are safe there. Never returns.
[[noreturn]] void become(const char* program, char* const* arguments, int input, int output, int network,
                         int trouble) {
    ::setsid();
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    bool const moved = network < 0 || ::setns(network, CLONE_NEWNET) == 0;
    if (moved) {
        ::dup2(input, STDIN_FILENO);
        ::dup2(output, STDOUT_FILENO);
        ::dup2(output, STDERR_FILENO);
        ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
        ::execv(program, arguments);  // host: a process of its own
    }
    int const error = errno;
    (void)!::write(trouble, &error, sizeof error);
    ::_exit(127);
}

// Returns when the new program runs: until then the child looks like this one.
Result<int> spawn(const std::string& program, std::vector<std::string> arguments, int input, int output,
                  int network) {
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    int pipe[2];
    if (::pipe2(pipe, O_CLOEXEC) != 0) return os::fail_errno(errno, "starting '" + program + "'");
    os::Descriptor const read_end(pipe[0]);
    os::Descriptor write_end(pipe[1]);
    int const pid = ::fork();  // host: a process of its own
    if (pid < 0) return os::fail_errno(errno, "starting '" + program + "'");
    if (pid == 0) become(program.c_str(), pointers.data(), input, output, network, write_end.get());
    write_end = os::Descriptor();
    int error = 0;
    ssize_t n = 0;
    do n = ::read(read_end.get(), &error, sizeof error);
    while (n < 0 && errno == EINTR);
    if (n <= 0) return pid;
    ::waitpid(pid, nullptr, 0);
    return os::fail_errno(error, "starting '" + program + "'");
}

std::string find_program(const std::string& name) {
    for (const char* folder : {"/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"})
        if (file_exists(folder + name)) return folder + name;
    return {};
}

}  // namespace

std::map<std::string, RunningCorelet> find_corelets() {
    return find_serving(Serving::kCorelet);
}

std::optional<RunningCorelet> find_keeper(const std::string& directory) {
    auto const all = find_serving(Serving::kBays);
    auto const found = all.find(directory);
    return found == all.end() ? std::nullopt : std::optional(found->second);
}

bool process_ended(int pid) {
    int const reaped = ::waitpid(pid, nullptr, WNOHANG);
    if (reaped == pid) return true;
    if (reaped == 0) return false;
    char const state = state_of(std::to_string(pid));  // no child of this process
    return state == 'Z' || state == 'X';
}

std::optional<RunningCorelet> find_corelet(const std::string& directory) {
    auto const all = find_corelets();
    auto const found = all.find(directory);
    return found == all.end() ? std::nullopt : std::optional(found->second);
}

namespace {

Result<int> start_logged(std::vector<std::string> arguments, const std::string& log, int network) {
    os::Descriptor const input(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    os::Descriptor const output(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (!input.valid() || !output.valid()) return os::fail_errno(errno, "opening the log '" + log + "'");
    return spawn(own_program(), std::move(arguments), input.get(), output.get(), network);
}

}  // namespace

Result<int> start_corelet(const std::string& directory, const std::string& network_namespace,
                          const std::vector<std::string>& options) {
    os::Descriptor network;
    if (!network_namespace.empty()) {
        std::string const path = "/run/netns/" + network_namespace;
        network = os::Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        if (!network.valid())
            return os::fail_errno(errno, "opening the network namespace '" + network_namespace + "'");
    }
    std::vector<std::string> arguments{"corelet", "serve", "--log", "--dir", directory};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return start_logged(std::move(arguments), directory + "/" + k_log_file, network.get());
}

Result<int> start_keeper(const std::string& directory, const std::string& bays) {
    return start_logged({"corelet", "serve", "--log", "--bays", bays, "--dir", directory},
                        directory + "/" + k_keeper_log_file, -1);
}

Result<void> send_signal(int pid, int signal) {
    if (::kill(pid, signal) == 0) return {};  // host: that is what it is for
    return os::fail_errno(errno, "signalling process " + std::to_string(pid));
}

Result<void> run_program(const std::vector<std::string>& arguments, const std::string& input) {
    std::string const program = find_program(arguments.front());
    if (program.empty())
        return fail(Code::kNotFound, "there is no program '" + arguments.front() + "' on this machine");
    // Files rather than pipes: neither side can wait for the other.
    os::Descriptor const in(::open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
    os::Descriptor const out(::open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
    if (!in.valid() || !out.valid()) return os::fail_errno(errno, "making temporary files for '" + program + "'");
    if (::pwrite(in.get(), input.data(), input.size(), 0) != static_cast<ssize_t>(input.size()))
        return os::fail_errno(errno, "writing the input of '" + program + "'");
    TRY(int const pid, spawn(program, arguments, in.get(), out.get(), -1));
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return os::fail_errno(errno, "waiting for '" + program + "'");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    std::string said(4096, '\0');
    ssize_t const n = ::pread(out.get(), said.data(), said.size(), 0);
    said.resize(n > 0 ? static_cast<usize>(n) : 0);
    while (said.ends_with('\n')) said.pop_back();
    return fail(Code::kIo, "'" + arguments.front() + "' failed: " + said);
}

}  // namespace corelet::app
