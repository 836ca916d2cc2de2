// JSON as etcd's gateway has it: bytes in base64, 64-bit numbers in quotes, what is zero left out. For the codec's
// own files only: the library's header is heavy.
#pragma once

#include "base/json.h"
#include "base/result.h"

namespace corelet::etcd {

// Of a member that is missing, or of another type: the empty value.
[[nodiscard]] const Json& member(const Json& object, const char* name);
[[nodiscard]] u64 number(const Json& object, const char* name);
[[nodiscard]] bool flag(const Json& object, const char* name);
[[nodiscard]] std::string text(const Json& object, const char* name);
[[nodiscard]] std::string bytes(const Json& object, const char* name);

// kCorrupt: it is no JSON object.
[[nodiscard]] Result<Json> parse_object(std::string_view text);
// What etcd says in an error's stead of an answer; its codes are those of gRPC.
[[nodiscard]] Error error_of(u64 grpc_code, std::string_view message);

}  // namespace corelet::etcd
