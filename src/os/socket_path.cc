#include "os/socket_path.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <ctime>

#include "os/errors.h"
#include "os/random.h"
#include "os/socket_address.h"

namespace corelet::os {

namespace {

std::string directory_of(const std::string& path) {
    usize const slash = path.rfind('/');
    return slash == std::string::npos ? "./" : path.substr(0, slash + 1);
}

// Held while a name of the directory changes hands, so that between looking at a socket file and unlinking it
// nobody puts another there under the same name. A process that was stopped while it holds it stops nobody for
// long.
class NameLock {
  public:
    explicit NameLock(const std::string& path)
        : directory_(::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}
    [[nodiscard]] bool try_hold() const {
        return directory_.valid() && ::flock(directory_.get(), LOCK_EX | LOCK_NB) == 0;
    }
    [[nodiscard]] bool hold_soon() const {
        static constexpr int k_tries = 50;
        timespec const pause{0, 1'000'000};
        for (int i = 0; i < k_tries; ++i) {
            if (try_hold()) return true;
            if (!directory_.valid() || errno != EWOULDBLOCK) return false;
            ::nanosleep(&pause, nullptr);
        }
        return false;
    }
    // The directory by a short name, where its own leaves no room for another file's.
    [[nodiscard]] std::string short_name() const {
        return "/proc/self/fd/" + std::to_string(directory_.get()) + "/";
    }

  private:
    Descriptor directory_;
};

Result<SocketPath> identify(const std::string& path) {
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0) return fail_errno(errno, "examining the socket '" + path + "'");
    return SocketPath(path, status.st_dev, status.st_ino);
}

// Binds, and listens where that applies, so that nobody who finds the name is refused.
Result<SocketPath> bind_name(const Descriptor& socket, int type, const std::string& path) {
    TRY(auto address, unix_address(path));
    if (::bind(socket.get(), address.get(), address.size) != 0)
        return fail_errno(errno, "binding the socket '" + path + "'");
    if (type == SOCK_STREAM && ::listen(socket.get(), k_listen_backlog) != 0)
        return fail_errno(errno, "listening on '" + path + "'");
    return identify(path);
}

Result<void> require_socket_or_nothing(const std::string& path) {
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT) return {};
        return fail_errno(errno, "examining '" + path + "'");
    }
    if (S_ISSOCK(status.st_mode)) return {};
    return fail(Code::kExists, "'" + path + "' exists and is no socket; choose another path or remove it");
}

// Somebody answers at the path. Whatever is not clearly a refusal counts as alive.
bool is_alive(int type, const std::string& path) {
    Descriptor const probe(::socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    auto const address = unix_address(path);
    if (!probe.valid() || !address) return true;
    if (::connect(probe.get(), address->get(), address->size) == 0) return true;
    return errno != ECONNREFUSED && errno != ENOENT;
}

// A name beside `path`; it must fit the kernel's limit too.
Result<SocketPath> bind_beside(const Descriptor& socket, int type, const std::string& path, const NameLock& lock) {
    std::string const name = ".s" + hex64(os_random_seed()).substr(0, 6);
    std::string const whole = directory_of(path) + name;
    return bind_name(socket, type, whole.size() <= k_unix_path_max ? whole : lock.short_name() + name);
}

// With the lock held, if it could be had.
Result<SocketPath> take_over(const Descriptor& socket, int type, const std::string& path, const NameLock& lock) {
    TRY(auto temporary, bind_beside(socket, type, path, lock));
    if (::rename(temporary.path().c_str(), path.c_str()) != 0) {
        int const error = errno;
        ::unlink(temporary.path().c_str());  // nobody else's: its name was drawn
        return fail_errno(error, "replacing the socket '" + path + "'");
    }
    return identify(path);
}

}  // namespace

bool SocketPath::is_own() const {
    struct stat status{};
    return !path_.empty() && ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
           status.st_ino == inode_;
}

void SocketPath::release() {
    if (is_own()) {
        NameLock const lock(path_);
        // A name that stays is dead, and the next one takes it over.
        if (lock.hold_soon() && is_own()) ::unlink(path_.c_str());
    }
    path_.clear();
}

Result<SocketPath> bind_socket_path(const Descriptor& socket, int type, const std::string& path, bool replace) {
    TRY_VOID(unix_address(path));
    TRY_VOID(require_socket_or_nothing(path));
    NameLock const lock(path);
    if (replace) {
        (void)lock.hold_soon();
        return take_over(socket, type, path, lock);
    }
    auto bound = bind_name(socket, type, path);
    if (bound || bound.error().code != Code::kExists) return bound;
    // Two processes that find the same dead socket must not both take it over, the second from the first.
    if (!lock.try_hold() || is_alive(type, path))
        return fail(Code::kExists, "another process serves '" + path + "'");
    return take_over(socket, type, path, lock);
}

}  // namespace corelet::os
