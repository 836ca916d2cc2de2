#include "os/errors.h"

#include <cerrno>
#include <cstring>

namespace corelet::os {

namespace {

Code code_of(int error_number) {
    switch (error_number) {
        case ENOSPC:
        case EDQUOT:
            return Code::kNoSpace;
        case ENOENT:
        case ENODEV:
        case ENXIO:
            return Code::kNotFound;
        case EEXIST:
        case EADDRINUSE:
            return Code::kExists;
        case EBUSY:
            return Code::kConflict;
        case EACCES:
        case EPERM:
        case EROFS:
            return Code::kDenied;
        case ECONNREFUSED:
        case ECONNRESET:
        case ECONNABORTED:
        case EPIPE:
            return Code::kReset;
        case ETIMEDOUT:
            return Code::kTimeout;
        case EHOSTUNREACH:
        case ENETUNREACH:
        case ENETDOWN:
        case EADDRNOTAVAIL:
            return Code::kUnavailable;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
        case EAGAIN:
            return Code::kOverloaded;
        case EINVAL:
        case ENAMETOOLONG:
        case EAFNOSUPPORT:
        case EISDIR:
        case ENOTDIR:
            return Code::kInvalid;
        case EOPNOTSUPP:
        case ENOSYS:
            return Code::kUnsupported;
        default:
            return Code::kIo;
    }
}

Error make(Code code, int error_number, std::string_view doing) {
    return Error{code, false, 0, std::string(doing) + ": " + error_text(error_number)};
}

}  // namespace

std::string error_text(int error_number) {
    const char* const text = strerrordesc_np(error_number);
    return text ? text : "error " + std::to_string(error_number);
}

Error error_from(int error_number, std::string_view doing) {
    return make(code_of(error_number), error_number, doing);
}

Error disk_error(int error_number, std::string_view doing) {
    bool const full = error_number == ENOSPC || error_number == EDQUOT;
    return make(full ? Code::kNoSpace : Code::kIo, error_number, doing);
}

Error stream_error(int error_number, std::string_view doing) {
    return make(Code::kReset, error_number, doing);
}

}  // namespace corelet::os
