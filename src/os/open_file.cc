#include "os/open_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>

#include "os/errors.h"

namespace corelet::os {

namespace {

std::string quoted(const std::string& path) {
    return "'" + path + "'";
}

// tmpfs and a few others know no O_DIRECT; there the page cache stands between, and DSYNC still makes writes
// durable.
Result<Descriptor> open_direct_or_not(const std::string& path, int flags, bool* is_direct) {
    *is_direct = true;
    Descriptor descriptor(::open(path.c_str(), flags | O_DIRECT, 0600));
    if (!descriptor.valid() && errno == EINVAL) {
        *is_direct = false;
        // With O_DIRECT refused, O_CREAT may have made the file already.
        descriptor = Descriptor(::open(path.c_str(), flags & ~O_EXCL, 0600));
    }
    if (!descriptor.valid()) return fail_errno(errno, "opening " + quoted(path));
    return descriptor;
}

Result<void> lock_file(const Descriptor& descriptor, const std::string& path) {
    if (::flock(descriptor.get(), LOCK_EX | LOCK_NB) == 0) return {};
    if (errno == EWOULDBLOCK)
        return fail(Code::kConflict, quoted(path) + " is in use by another process or corelet");
    return fail_errno(errno, "locking " + quoted(path));
}

Result<void> sync_parent(const std::string& path) {
    usize const slash = path.rfind('/');
    std::string const parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    Descriptor const directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid()) return fail_errno(errno, "opening " + quoted(parent));
    if (::fsync(directory.get()) != 0) return std::unexpected(disk_error(errno, "syncing " + quoted(parent)));
    return {};
}

Result<void> check_space(int fd, u64 size, const std::string& path) {
    struct statvfs space{};
    if (::fstatvfs(fd, &space) != 0) return fail_errno(errno, "asking for the space at " + quoted(path));
    u64 const free_bytes = static_cast<u64>(space.f_bavail) * space.f_frsize;
    if (free_bytes >= size) return {};
    return fail(Code::kNoSpace, quoted(path) + " needs " + std::to_string(size / k_mib) +
                                    " MiB, its file system has " + std::to_string(free_bytes / k_mib) +
                                    " MiB free");
}

Result<void> preallocate(const Descriptor& descriptor, u64 size, const std::string& path) {
    CORELET_ASSERT(size % k_block_bytes == 0, "sizes are whole blocks");
    TRY_VOID(check_space(descriptor.get(), size, path));
    if (size == 0) return {};
    int failed = 0;
    do {
        failed = ::fallocate(descriptor.get(), 0, 0, static_cast<off_t>(size)) == 0 ? 0 : errno;
    } while (failed == EINTR);
    // A file system that cannot reserve: the check above is all there is.
    if (failed == EOPNOTSUPP) failed = ::ftruncate(descriptor.get(), static_cast<off_t>(size)) == 0 ? 0 : errno;
    if (failed != 0) return fail_errno(failed, "preallocating " + quoted(path));
    if (::fsync(descriptor.get()) != 0) return std::unexpected(disk_error(errno, "syncing " + quoted(path)));
    return sync_parent(path);
}

Result<void> measure(OpenFile& file) {
    struct stat status{};
    if (::fstat(file.descriptor.get(), &status) != 0) return fail_errno(errno, "examining " + quoted(file.path));
    u64 bytes = static_cast<u64>(status.st_size);
    if (S_ISBLK(status.st_mode)) {
        file.is_block_device = true;
        if (::ioctl(file.descriptor.get(), BLKGETSIZE64, &bytes) != 0)
            return fail_errno(errno, "asking for the size of " + quoted(file.path));
    } else if (!S_ISREG(status.st_mode)) {
        return fail(Code::kInvalid, quoted(file.path) + " is neither a file nor a block device");
    }
    file.size_bytes = round_down(bytes, k_block_bytes);
    return {};
}

Result<void> create_into(OpenFile& file, u64 size) {
    static constexpr int k_flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
    TRY(file.descriptor, open_direct_or_not(file.path, k_flags, &file.is_direct));
    Result<void> ready = lock_file(file.descriptor, file.path);
    if (ready) ready = preallocate(file.descriptor, size, file.path);
    if (ready) ready = measure(file);
    if (!ready) ::unlink(file.path.c_str());
    return ready;
}

Result<void> open_into(OpenFile& file, bool read_only) {
    struct stat status{};
    if (::stat(file.path.c_str(), &status) != 0) return fail_errno(errno, "opening " + quoted(file.path));
    int flags = O_CLOEXEC | (read_only ? O_RDONLY : O_RDWR);
    // On a block device this refuses one that is mounted or otherwise taken by the kernel.
    if (S_ISBLK(status.st_mode)) flags |= O_EXCL;
    TRY(file.descriptor, open_direct_or_not(file.path, flags, &file.is_direct));
    TRY_VOID(lock_file(file.descriptor, file.path));
    return measure(file);
}

}  // namespace

OpenFile::~OpenFile() {
    // Explicitly: the kernel may keep the opened file a moment longer than its last request.
    if (descriptor.valid()) ::flock(descriptor.get(), LOCK_UN);
    descriptor = Descriptor();
    if (on_closed) on_closed();
}

Result<std::shared_ptr<OpenFile>> open_file(const std::string& path, const OpenOptions& options) {
    auto file = std::make_shared<OpenFile>();
    file->path = path;
    TRY_VOID(options.create ? create_into(*file, options.size_bytes) : open_into(*file, options.read_only));
    return file;
}

Result<void> remove_file(const std::string& path) {
    if (::unlink(path.c_str()) != 0) return fail_errno(errno, "removing " + quoted(path));
    return sync_parent(path);
}

Result<bool> file_exists(const std::string& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) == 0) return true;
    if (errno == ENOENT) return false;
    return fail_errno(errno, "looking for " + quoted(path));
}

Result<void> discard_on_device(const OpenFile& file, u64 offset, u64 size) {
    CORELET_ASSERT(file.is_block_device);
    std::array<u64, 2> range{offset, size};
    if (::ioctl(file.descriptor.get(), BLKDISCARD, range.data()) == 0) return {};
    // What a device does not know to discard simply keeps its bytes.
    if (errno == EOPNOTSUPP || errno == ENOTTY) return {};
    return std::unexpected(disk_error(errno, "discarding on " + quoted(file.path)));
}

}  // namespace corelet::os
