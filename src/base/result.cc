#include "base/result.h"

namespace corelet {

const char* code_name(Code code) {
    switch (code) {
        case Code::kIo:
            return "io";
        case Code::kCorrupt:
            return "corrupt";
        case Code::kUnknown:
            return "unknown";
        case Code::kNotFound:
            return "not found";
        case Code::kExists:
            return "exists";
        case Code::kConflict:
            return "conflict";
        case Code::kFenced:
            return "fenced";
        case Code::kStaleMap:
            return "stale map";
        case Code::kTimeout:
            return "timeout";
        case Code::kCancelled:
            return "cancelled";
        case Code::kClosed:
            return "closed";
        case Code::kReset:
            return "reset";
        case Code::kNoSpace:
            return "no space";
        case Code::kOverloaded:
            return "overloaded";
        case Code::kInvalid:
            return "invalid";
        case Code::kUnavailable:
            return "unavailable";
        case Code::kNotOwner:
            return "not owner";
        case Code::kForgotten:
            return "forgotten";
        case Code::kDenied:
            return "denied";
        case Code::kUnsupported:
            return "unsupported";
        case Code::kNotLeader:
            return "not leader";
        case Code::kShutdown:
            return "shutdown";
        case Code::kLost:
            return "lost";
    }
    return "unnamed code";
}

bool Error::is_retryable() const {
    switch (code) {
        case Code::kTimeout:
        case Code::kClosed:
        case Code::kReset:
        case Code::kOverloaded:
        case Code::kUnavailable:
        case Code::kNotOwner:
        case Code::kNotLeader:
        case Code::kStaleMap:
        case Code::kShutdown:
        case Code::kConflict:
            return true;
        default:
            return false;
    }
}

std::string Error::to_string() const {
    std::string out = code_name(code);
    if (!message.empty()) out += ": " + message;
    if (injected) out += " (injected)";
    return out;
}

Error with_context(Error error, std::string_view context) {
    error.message = error.message.empty() ? std::string(context) : std::string(context) + ": " + error.message;
    return error;
}

}  // namespace corelet
