#include "node/admin_arguments.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "mesh/redundancy.h"
#include "volume/map_format.h"

namespace corelet {

using Json = nlohmann::json;

namespace {

bool valid_name(std::string_view name) {
    if (name.empty() || name.size() > 64) return false;
    return std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
               c == '-';
    });
}

Result<void> check_socket(const std::string& path, const std::string& volume) {
    if (!path.starts_with('/'))
        return fail(Code::kInvalid,
                    "the socket '" + path + "' needs a whole path, as in unix:/run/" + volume + ".nbd");
    if (path.size() <= k_unix_path_bytes_max) return {};
    return fail(Code::kInvalid, "the socket '" + path + "' has a path of " + std::to_string(path.size()) +
                                    " bytes, and the kernel takes at most " +
                                    std::to_string(k_unix_path_bytes_max) + "; choose a shorter one");
}

}  // namespace

Result<Json> parse_arguments(std::string_view encoded) {
    if (encoded.size() > k_admin_arguments_bytes_max) return fail(Code::kInvalid, "arguments of more than 64 KiB");
    Json arguments = Json::parse(encoded.empty() ? std::string_view("{}") : encoded, nullptr, false);
    if (arguments.is_discarded() || !arguments.is_object())
        return fail(Code::kInvalid, "arguments are a JSON object");
    return arguments;
}

std::string text_argument(const Json& arguments, const char* key) {
    auto const found = arguments.find(key);
    return found != arguments.end() && found->is_string() ? found->get<std::string>() : std::string();
}

u64 number_argument(const Json& arguments, const char* key) {
    auto const found = arguments.find(key);
    if (found == arguments.end() || !found->is_number_integer()) return 0;
    if (found->is_number_unsigned()) return found->get<u64>();
    return static_cast<u64>(std::max<i64>(found->get<i64>(), 0));
}

Result<mesh::PoolSpec> pool_wish(const Json& arguments) {
    mesh::PoolSpec spec;
    spec.name = text_argument(arguments, "name");
    TRY(spec.redundancy, mesh::Redundancy::parse(text_argument(arguments, "redundancy")));
    spec.level = mesh::Level::kCorelet;
    if (std::string const domain = text_argument(arguments, "failure_domain"); !domain.empty()) {
        auto const level = mesh::parse_level(domain);
        if (!level)
            return fail(Code::kInvalid,
                        "'" + domain + "' is no failure domain; choose corelet, chassis, rack or zone");
        spec.level = *level;
    }
    u64 const copies = number_argument(arguments, "min_copies");
    if (copies > spec.redundancy.m + 1U)
        return fail(Code::kInvalid, "min_copies of " + std::to_string(copies) + " can never be had: the log of " +
                                        spec.redundancy.to_string() + " has " +
                                        std::to_string(spec.redundancy.m + 1U) + " copies");
    spec.min_copies = static_cast<u8>(copies);
    if (u64 const chunk = number_argument(arguments, "chunk_bytes"); chunk != 0) spec.chunk_bytes = chunk;
    TRY_VOID(mesh::check_pool_spec(spec));
    return spec;
}

Result<VolumeWish> volume_wish(const Json& arguments) {
    VolumeWish wish{text_argument(arguments, "name"), text_argument(arguments, "pool"),
                    number_argument(arguments, "size_bytes")};
    if (!valid_name(wish.name))
        return fail(Code::kInvalid, "a volume's name has 1 to 64 characters of A-Z a-z 0-9 . _ -");
    if (wish.size_bytes == 0 || wish.size_bytes % k_block_bytes != 0)
        return fail(Code::kInvalid, "a volume's size is a multiple of 4096 bytes, not 0");
    if (wish.size_bytes > k_volume_bytes_max) return fail(Code::kInvalid, "a volume has at most 64 TiB");
    return wish;
}

Result<AttachWish> attach_wish(const Json& arguments) {
    AttachWish wish{text_argument(arguments, "name"), text_argument(arguments, "at"),
                    text_argument(arguments, "nbd"), std::nullopt};
    if (wish.listen.empty()) return wish;
    TRY(wish.address, Address::parse(wish.listen));
    if (wish.address->kind == Address::Kind::kUnix) TRY_VOID(check_socket(wish.address->host, wish.name));
    return wish;
}

}  // namespace corelet
