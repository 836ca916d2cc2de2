#include "catalog/etcd/json.h"

#include <charconv>

#include "base/base64.h"

namespace corelet::etcd {

const Json& member(const Json& object, const char* name) {
    static const Json nothing;  // global: immutable
    if (!object.is_object()) return nothing;
    auto const found = object.find(name);
    return found == object.end() ? nothing : *found;
}

u64 number(const Json& object, const char* name) {
    const Json& value = member(object, name);
    if (value.is_number_unsigned()) return value.get<u64>();
    if (!value.is_string()) return 0;
    auto const& digits = value.get_ref<const std::string&>();
    u64 out = 0;
    auto const [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return error == std::errc() && end == digits.data() + digits.size() ? out : 0;
}

bool flag(const Json& object, const char* name) {
    const Json& value = member(object, name);
    return value.is_boolean() && value.get<bool>();
}

std::string text(const Json& object, const char* name) {
    const Json& value = member(object, name);
    return value.is_string() ? value.get<std::string>() : std::string();
}

std::string bytes(const Json& object, const char* name) {
    return from_padded_base64(text(object, name)).value_or(std::string());
}

Result<Json> parse_object(std::string_view text) {
    Json parsed = Json::parse(text, nullptr, false);
    if (!parsed.is_object()) return fail(Code::kCorrupt, "etcd's answer is no JSON object");
    return parsed;
}

namespace {
Code code_of(u64 grpc_code, std::string_view message) {
    switch (grpc_code) {
        case 3:  // InvalidArgument: too large, too many parts
            return Code::kInvalid;
        case 5:  // NotFound: a lease
            return Code::kNotFound;
        case 7:   // PermissionDenied
        case 16:  // Unauthenticated
            return Code::kDenied;
        case 8:  // ResourceExhausted
            return message.find("space") != std::string_view::npos ? Code::kNoSpace : Code::kOverloaded;
        case 9:  // FailedPrecondition
            return message.find("already exists") != std::string_view::npos ? Code::kExists : Code::kUnavailable;
        default:
            return Code::kUnavailable;
    }
}
}  // namespace

Error error_of(u64 grpc_code, std::string_view message) {
    return Error{code_of(grpc_code, message), false, grpc_code, "etcd says: " + std::string(message)};
}

}  // namespace corelet::etcd
