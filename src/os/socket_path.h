// The names of unix sockets in the file system: taking one, taking one over, and giving back only one's own.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "os/descriptor.h"

namespace corelet::os {

// Removes the path when released or destroyed, if the file there still is the socket that was bound.
class SocketPath {
  public:
    SocketPath() = default;
    SocketPath(std::string path, dev_t device, ino_t inode)
        : path_(std::move(path)), device_(device), inode_(inode) {}
    SocketPath(SocketPath&& other) noexcept
        : path_(std::exchange(other.path_, {})), device_(other.device_), inode_(other.inode_) {}
    SocketPath& operator=(SocketPath other) noexcept {
        std::swap(path_, other.path_);
        std::swap(device_, other.device_);
        std::swap(inode_, other.inode_);
        return *this;
    }
    ~SocketPath() { release(); }
    void release();
    // The file there still is the socket that was bound.
    [[nodiscard]] bool is_own() const;
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

// Binds `socket` (of type SOCK_STREAM or SOCK_DGRAM) to `path`. A socket file whose process is dead is taken over;
// a live one only with `replace`. Taking over is atomic: whoever connects meanwhile reaches the old or the new one.
// `listen` is called on a stream socket before its name can be found. Errors: kInvalid (too long), kExists (in use,
// or no socket), kDenied, kNotFound (no such directory).
[[nodiscard]] Result<SocketPath> bind_socket_path(const Descriptor& socket, int type, const std::string& path,
                                                  bool replace);

inline constexpr int k_listen_backlog = 1024;

}  // namespace corelet::os
