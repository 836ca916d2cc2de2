#include "app/tool/files.h"

#include <fcntl.h>     // host: configurations are replaced durably, and with a mode of their own
#include <sys/stat.h>  // host: as above
#include <unistd.h>    // host: as above

#include <cerrno>
#include <cstdlib>
#include <filesystem>  // host: the command line works on the machine's directories

#include "os/descriptor.h"
#include "os/errors.h"

namespace corelet::app {

namespace {

constexpr usize k_file_bytes_max = 4 * k_mib;

Result<void> write_all(int fd, std::string_view text, const std::string& path) {
    while (!text.empty()) {
        ssize_t const n = ::write(fd, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return os::fail_errno(errno, "writing '" + path + "'");
        text.remove_prefix(static_cast<usize>(n));
    }
    return {};
}

}  // namespace

std::string absolute_path(const std::string& path) {
    std::error_code error;
    std::string text = std::filesystem::absolute(path, error).lexically_normal().string();
    while (text.size() > 1 && text.ends_with('/')) text.pop_back();
    return text;
}

bool file_exists(const std::string& path) {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0;
}

Result<std::string> read_file(const std::string& path) {
    os::Descriptor const file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) return os::fail_errno(errno, "reading '" + path + "'");
    std::string text;
    std::string part(64 * k_kib, '\0');
    for (;;) {
        ssize_t const n = ::read(file.get(), part.data(), part.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return os::fail_errno(errno, "reading '" + path + "'");
        if (n == 0) return text;
        text.append(part, 0, static_cast<usize>(n));
        if (text.size() > k_file_bytes_max) return fail(Code::kInvalid, "'" + path + "' is larger than 4 MiB");
    }
}

namespace {

Result<void> write_durably(const std::string& path, const std::string& text) {
    os::Descriptor const file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file.valid()) return os::fail_errno(errno, "writing '" + path + "'");
    TRY_VOID(write_all(file.get(), text, path));
    if (::fsync(file.get()) != 0) return os::fail_errno(errno, "writing '" + path + "'");
    return {};
}

}  // namespace

Result<void> replace_file(const std::string& path, const std::string& text) {
    std::string const temporary = path + ".new";
    if (auto const written = write_durably(temporary, text); !written) {
        ::unlink(temporary.c_str());
        return written;
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0) return os::fail_errno(errno, "replacing '" + path + "'");
    std::string const parent = std::filesystem::path(path).parent_path().string();
    os::Descriptor const directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid() || ::fsync(directory.get()) != 0)
        return os::fail_errno(errno, "making '" + path + "' durable");
    return {};
}

Result<void> make_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) == 0) return {};
    if (errno == ENOENT) {
        std::string const parent = std::filesystem::path(path).parent_path().string();
        if (!parent.empty() && parent != path) {
            TRY_VOID(make_directory(parent));
            return make_directory(path);
        }
    }
    struct stat status{};
    if (errno == EEXIST && ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return {};
    return os::fail_errno(errno, "making the directory '" + path + "'");
}

std::vector<std::string> list_directory(const std::string& path) {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(path, error))
        names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

void remove_file(const std::string& path) {
    ::unlink(path.c_str());
}

std::string last_lines(const std::string& path, usize lines) {
    auto const text = read_file(path);
    if (!text || text->empty()) return {};
    usize at = text->size() - 1;
    for (usize i = 0; i < lines && at != std::string::npos && at != 0; ++i) at = text->rfind('\n', at - 1);
    return at == std::string::npos || at == 0 ? *text : text->substr(at + 1);
}

std::optional<std::string> environment(const char* name) {
    // host: where the mesh is may be said by the environment
    const char* const value = std::getenv(name);
    if (!value || !*value) return std::nullopt;
    return std::string(value);
}

}  // namespace corelet::app
