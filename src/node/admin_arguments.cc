#include "node/admin_arguments.h"

#include <algorithm>

#include "base/json.h"
#include "mesh/redundancy.h"
#include "mesh/strategy.h"
#include "volume/map_format.h"

namespace corelet {

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

Result<mesh::Level> level_named(const std::string& name) {
    auto const level = mesh::parse_level(name);
    if (level) return *level;
    return fail(Code::kInvalid, "'" + name + "' is no failure domain; choose corelet, chassis, rack or zone");
}

Result<std::optional<mesh::Level>> level_argument(const Json& arguments, const char* key) {
    std::string const name = text_argument(arguments, key);
    if (name.empty()) return std::nullopt;
    TRY(mesh::Level const level, level_named(name));
    return level;
}

// {"zone": 2, "rack": 1}
Result<std::array<u8, mesh::k_level_count>> caps_wish(const Json& arguments) {
    std::array<u8, mesh::k_level_count> caps{};
    auto const found = arguments.find("max_per");
    if (found == arguments.end()) return caps;
    if (!found->is_object()) return fail(Code::kInvalid, "max_per names levels and numbers");
    for (auto const& [name, value] : found->items()) {
        TRY(mesh::Level const level, level_named(name));
        u64 const most = number_argument(*found, name.c_str());
        if (most < 1 || most > mesh::k_width_max)
            return fail(Code::kInvalid, "at most " + value.dump() + " fragments in one " + name +
                                            " makes no sense; choose 1 to " + std::to_string(mesh::k_width_max));
        caps[static_cast<usize>(level)] = static_cast<u8>(most);
    }
    return caps;
}

Result<void> take_strategy(const Json& arguments, mesh::PoolSpec& spec) {
    std::string const name = text_argument(arguments, "strategy");
    if (name.empty()) return {};
    const mesh::Strategy* const strategy = mesh::find_strategy(name);
    if (!strategy) {
        std::string known;
        for (const mesh::Strategy& each : mesh::strategies())
            known += (known.empty() ? "" : ", ") + std::string(each.name) + " (" + std::string(each.summary) + ")";
        return fail(Code::kInvalid, "there is no placement strategy '" + name + "'; there are " + known);
    }
    spec.strategy = name;
    spec.locality = strategy->locality;
    return {};
}

// A profile is a redundancy with its quorums, under a name; what is named beside it counts more.
struct PoolProfile {
    std::string_view name;
    mesh::Redundancy redundancy;
    u8 write_quorum, read_quorum, repair_threshold;
};
constexpr std::array k_pool_profiles{PoolProfile{"datacenter", {10, 4}, 11, 10, 12}};

Result<> take_redundancy(const Json& arguments, mesh::PoolSpec& spec) {
    std::string const profile = text_argument(arguments, "profile"), named = text_argument(arguments, "redundancy");
    if (profile.empty()) {
        TRY(spec.redundancy, mesh::Redundancy::parse(named));
        return {};
    }
    auto const found = std::ranges::find(k_pool_profiles, profile, &PoolProfile::name);
    if (found == k_pool_profiles.end())
        return fail(Code::kInvalid, "there is no profile '" + profile +
                                        "'; there is datacenter: ec:10+4, write quorum 11, "
                                        "read quorum 10, repair threshold 12");
    if (!named.empty() && named != found->redundancy.to_string())
        return fail(Code::kInvalid, "profile " + profile + " is " + found->redundancy.to_string() +
                                        "; leave --redundancy out, or name the quorums without a profile");
    spec.redundancy = found->redundancy;
    spec.write_quorum = found->write_quorum;
    spec.read_quorum = found->read_quorum;
    spec.repair_threshold = found->repair_threshold;
    return {};
}

Result<> take_number(const Json& arguments, const char* key, u64 least, u64 most, u8& out) {
    if (!arguments.contains(key)) return {};
    u64 const wanted = number_argument(arguments, key);
    if (wanted == 0 && out != 0) {  // the default again
        out = 0;
        return {};
    }
    if (wanted < least || wanted > most)
        return fail(Code::kInvalid, std::string(key) + " is from " + std::to_string(least) + " to " +
                                        std::to_string(most) + " with this redundancy, not " +
                                        std::to_string(wanted));
    out = static_cast<u8>(wanted);
    return {};
}

Result<> take_quorums(const Json& arguments, mesh::PoolSpec& spec) {
    u64 const k = spec.redundancy.k, width = spec.redundancy.width();
    TRY_VOID(take_number(arguments, "write_quorum", std::min(k + 1, width), width, spec.write_quorum));
    TRY_VOID(take_number(arguments, "read_quorum", k, width, spec.read_quorum));
    if (arguments.contains("repair_threshold") && spec.redundancy.m == 0)
        return fail(Code::kInvalid, "without parity nothing can be repaired: leave repair_threshold out");
    return take_number(arguments, "repair_threshold", k, width - 1, spec.repair_threshold);
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

Result<CoreletId> corelet_argument(const mesh::Map& map, const Json& arguments, const char* key) {
    std::string const wanted = text_argument(arguments, key);
    for (const mesh::Corelet& corelet : map.corelets)
        if (to_string(corelet.id) == wanted) return corelet.id;
    return fail(Code::kNotFound, "there is no corelet " + wanted + "; `corelet status` lists them");
}

Result<const mesh::Pool*> pool_argument(const mesh::Map& map, const Json& arguments, const char* key) {
    std::string const wanted = text_argument(arguments, key);
    if (const mesh::Pool* const pool = map.find_pool(wanted)) return pool;
    return fail(Code::kNotFound, "there is no pool '" + wanted + "'; `corelet pool ls` lists them");
}

Result<PoolWish> pool_wish(const Json& arguments) {
    PoolWish wish;
    mesh::PoolSpec& spec = wish.spec;
    spec.name = text_argument(arguments, "name");
    TRY_VOID(take_redundancy(arguments, spec));
    TRY(auto const level, level_argument(arguments, "failure_domain"));
    spec.level = level.value_or(mesh::Level::kCorelet);
    TRY(wish.survive, level_argument(arguments, "survive"));
    TRY(spec.caps, caps_wish(arguments));
    TRY_VOID(take_strategy(arguments, spec));
    spec.device_class = text_argument(arguments, "device_class");
    u64 const copies = number_argument(arguments, "min_copies");
    if (copies > spec.redundancy.m + 1U)
        return fail(Code::kInvalid, "min_copies of " + std::to_string(copies) + " can never be had: the log of " +
                                        spec.redundancy.to_string() + " has " +
                                        std::to_string(spec.redundancy.m + 1U) + " copies");
    spec.min_copies = static_cast<u8>(copies);
    TRY_VOID(take_quorums(arguments, spec));
    if (u64 const chunk = number_argument(arguments, "chunk_bytes"); chunk != 0) spec.chunk_bytes = chunk;
    TRY_VOID(mesh::check_pool_spec(spec));
    return wish;
}

namespace {

// What chunks were written by.
Result<> check_nothing_fixed(const Json& arguments) {
    for (const char* key : {"redundancy", "profile", "chunk_bytes"})
        if (arguments.contains(key))
            return fail(Code::kInvalid, std::string(key) +
                                            " of a pool is fixed: its chunks would have to be written anew. Make "
                                            "another pool and copy the volumes there");
    return {};
}

// {"zone": 2, "rack": 0}: what is named; 0 takes a cap away.
Result<> change_caps(const Json& arguments, mesh::PoolSpec& spec) {
    auto const found = arguments.find("max_per");
    if (found == arguments.end() || !found->is_object()) return {};
    Json named = Json::object();
    for (auto const& [name, value] : found->items()) {
        TRY(mesh::Level const level, level_named(name));
        if (value == 0)
            spec.caps[static_cast<usize>(level)] = 0;
        else
            named[name] = value;
    }
    TRY(auto const caps, caps_wish(Json{{"max_per", named}}));
    for (usize level = 0; level < caps.size(); ++level)
        if (caps[level] != 0) spec.caps[level] = caps[level];
    return {};
}

Result<> change_places(const Json& arguments, mesh::PoolSpec& spec) {
    u8 const locality = spec.locality;
    TRY_VOID(take_strategy(arguments, spec));
    // One that was made with neighbours together keeps them so, whatever places its slots from now on.
    if (spec.locality < locality) spec.locality = locality;
    TRY(auto const level, level_argument(arguments, "failure_domain"));
    spec.level = level.value_or(spec.level);
    if (arguments.contains("device_class")) spec.device_class = text_argument(arguments, "device_class");
    return change_caps(arguments, spec);
}

}  // namespace

Result<PoolWish> pool_change_wish(const mesh::Pool& pool, const Json& arguments) {
    TRY_VOID(check_nothing_fixed(arguments));
    PoolWish wish;
    wish.spec = pool.spec;
    TRY_VOID(change_places(arguments, wish.spec));
    TRY(wish.survive, level_argument(arguments, "survive"));
    TRY_VOID(take_number(arguments, "min_copies", 1, wish.spec.redundancy.m + 1U, wish.spec.min_copies));
    TRY_VOID(take_quorums(arguments, wish.spec));
    TRY_VOID(mesh::check_pool_spec(wish.spec));
    return wish;
}

Json caps_of(const mesh::PoolSpec& spec) {
    Json out = Json::object();
    for (usize level = 0; level < mesh::k_level_count; ++level)
        if (spec.caps[level] != 0) out[mesh::level_name(static_cast<mesh::Level>(level))] = spec.caps[level];
    return out;
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
    AttachWish wish{text_argument(arguments, "name"), text_argument(arguments, "nbd"), std::nullopt};
    if (wish.listen.empty()) return wish;
    TRY(wish.address, Address::parse(wish.listen));
    if (wish.address->kind == Address::Kind::kUnix) TRY_VOID(check_socket(wish.address->host, wish.name));
    return wish;
}

}  // namespace corelet
