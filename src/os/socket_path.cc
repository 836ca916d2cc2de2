#include "os/socket_path.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>

#include "os/errors.h"
#include "os/random.h"
#include "os/socket_address.h"

namespace corelet::os {

namespace {

std::string directory_of(const std::string& path) {
    usize const slash = path.rfind('/');
    return slash == std::string::npos ? "./" : path.substr(0, slash + 1);
}

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

// A name beside `path`, as short as the directory allows; it must fit the kernel's limit too.
Result<SocketPath> bind_beside(const Descriptor& socket, int type, const std::string& path) {
    std::string const name = directory_of(path) + ".s" + hex64(os_random_seed()).substr(0, 6);
    return bind_name(socket, type, name);
}

Result<SocketPath> take_over(const Descriptor& socket, int type, const std::string& path) {
    TRY(auto temporary, bind_beside(socket, type, path));
    if (::rename(temporary.path().c_str(), path.c_str()) != 0)
        return fail_errno(errno, "replacing the socket '" + path + "'");
    return identify(path);
}

}  // namespace

void SocketPath::release() {
    if (path_.empty()) return;
    std::string const path = std::exchange(path_, {});
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0) return;
    if (status.st_dev == device_ && status.st_ino == inode_) ::unlink(path.c_str());
}

Result<SocketPath> bind_socket_path(const Descriptor& socket, int type, const std::string& path, bool replace) {
    TRY_VOID(unix_address(path));
    TRY_VOID(require_socket_or_nothing(path));
    if (replace) return take_over(socket, type, path);
    auto bound = bind_name(socket, type, path);
    if (bound || bound.error().code != Code::kExists) return bound;
    // Two processes that find the same dead socket must not both take it over, the second from the first.
    Descriptor const directory(::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid() || ::flock(directory.get(), LOCK_EX | LOCK_NB) != 0 || is_alive(type, path))
        return fail(Code::kExists, "another process serves '" + path + "'");
    return take_over(socket, type, path);
}

}  // namespace corelet::os
