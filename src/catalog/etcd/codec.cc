#include "catalog/etcd/codec.h"

#include "base/base64.h"
#include "catalog/etcd/json.h"

namespace corelet::etcd {

namespace {

// --- requests
// ------------------------------------------------------------------------------------------------------------

Json compare_version(const std::string& key, const char* result) {
    return Json{{"key", to_padded_base64(key)}, {"target", "VERSION"}, {"version", "0"}, {"result", result}};
}

Json compare_revision(const std::string& key, Revision revision) {
    return Json{{"key", to_padded_base64(key)},
                {"target", "MOD"},
                {"mod_revision", std::to_string(revision.v)},
                {"result", "EQUAL"}};
}

Json encode_compare(const KeySpace& keys, const Compare& compare) {
    std::string const key = keys.data(compare.key);
    switch (compare.kind) {
        case Compare::Kind::kExists:
            return compare_version(key, "GREATER");
        case Compare::Kind::kMissing:
            return compare_version(key, "EQUAL");
        case Compare::Kind::kModRevision:
            // No key was changed at revision 0, but etcd has it so of a missing one.
            return compare.revision.is_zero() ? compare_version(key, "LESS")
                                              : compare_revision(key, compare.revision);
        case Compare::Kind::kValue:
            break;
    }
    return Json{{"key", to_padded_base64(key)},
                {"target", "VALUE"},
                {"value", to_padded_base64(compare.value)},
                {"result", "EQUAL"}};
}

Json encode_effect(const KeySpace& keys, const Effect& effect) {
    std::string const key = to_padded_base64(keys.data(effect.key));
    if (effect.kind == Effect::Kind::kPut) {
        Json put{{"key", key}, {"value", to_padded_base64(effect.value)}};
        if (!effect.lease.is_zero()) put["lease"] = std::to_string(effect.lease.v);
        return Json{{"request_put", std::move(put)}};
    }
    Json deletion{{"key", key}};
    if (effect.kind == Effect::Kind::kDeleteRange) {
        std::string const end = effect.end.empty() ? end_of_prefix(keys.data({})) : keys.data(effect.end);
        deletion["range_end"] = to_padded_base64(end);
    }
    return Json{{"request_delete_range", std::move(deletion)}};
}

// The key's lease stays the one it was made with.
Json move_slot(const std::string& key, std::string_view value) {
    return Json{{"request_put",
                 {{"key", to_padded_base64(key)}, {"value", to_padded_base64(value)}, {"ignore_lease", true}}}};
}

Json read_key(const std::string& key) {
    return Json{{"request_range", {{"key", to_padded_base64(key)}}}};
}

void append_reads(const KeySpace& keys, const std::vector<std::string>& reads, Json& list) {
    for (const std::string& key : reads) list.push_back(read_key(keys.data(key)));
}

std::string slot_key(const KeySpace& keys, const Slot& slot) {
    return keys.slot(slot.client, slot.number);
}

}  // namespace

std::string encode_attempt(const KeySpace& keys, const Slot& slot, const Transaction& transaction,
                           const std::vector<Effect>& effects) {
    std::string const key = slot_key(keys, slot);
    Json compares = Json::array({compare_revision(key, slot.revision)});
    for (const Compare& compare : transaction.compares) compares.push_back(encode_compare(keys, compare));
    Json success = Json::array({move_slot(key, k_slot_done)});
    for (const Effect& effect : effects) success.push_back(encode_effect(keys, effect));
    append_reads(keys, transaction.reads, success);
    Json failure = Json::array({read_key(key)});
    append_reads(keys, transaction.reads, failure);
    return Json{{"compare", std::move(compares)}, {"success", std::move(success)}, {"failure", std::move(failure)}}
        .dump();
}

std::string encode_settling(const KeySpace& keys, const Slot& slot, const std::vector<std::string>& reads) {
    std::string const key = slot_key(keys, slot);
    Json failure = Json::array({read_key(key)});
    append_reads(keys, reads, failure);
    return Json{{"compare", Json::array({compare_revision(key, slot.revision)})},
                {"success", Json::array({move_slot(key, k_slot_void)})},
                {"failure", std::move(failure)}}
        .dump();
}

std::string encode_making(const KeySpace& keys, const Slot& slot, LeaseId lease) {
    std::string const key = slot_key(keys, slot);
    Json const put{{"key", to_padded_base64(key)},
                   {"value", to_padded_base64(k_slot_made)},
                   {"lease", std::to_string(lease.v)}};
    return Json{{"compare", Json::array({compare_version(key, "EQUAL")})},
                {"success", Json::array({Json{{"request_put", put}}, read_key(key)})},
                {"failure", Json::array({read_key(key)})}}
        .dump();
}

// etcd answers a transaction that ranges over nothing without asking a quorum: the root, which is no key, is read
// in any case.
std::string encode_reading(const KeySpace& keys, const Transaction& transaction) {
    Json compares = Json::array();
    for (const Compare& compare : transaction.compares) compares.push_back(encode_compare(keys, compare));
    Json reads = Json::array({read_key(keys.root())});
    append_reads(keys, transaction.reads, reads);
    return Json{{"compare", std::move(compares)}, {"success", reads}, {"failure", reads}}.dump();
}

std::string encode_range(const KeySpace& keys, std::string_view prefix) {
    std::string const from = keys.data(prefix);
    std::string end = from;
    while (static_cast<u8>(end.back()) == 0xff) end.pop_back();
    return Json{{"key", to_padded_base64(from)}, {"range_end", to_padded_base64(end_of_prefix(std::move(end)))}}
        .dump();
}

std::string encode_probe(const KeySpace& keys) {
    return Json{{"key", to_padded_base64(keys.root())}}.dump();
}

std::string encode_grant(LeaseId lease, Duration ttl) {
    u64 const seconds = div_ceil(static_cast<u64>(std::max<i64>(ttl.ns, 1)), 1'000'000'000);
    return Json{{"ID", std::to_string(lease.v)}, {"TTL", std::to_string(seconds)}}.dump();
}

std::string encode_lease(LeaseId lease) {
    return Json{{"ID", std::to_string(lease.v)}}.dump();
}

std::string encode_watch(const KeySpace& keys, Revision from) {
    return Json{{"create_request",
                 {{"key", to_padded_base64(keys.root())},
                  {"range_end", to_padded_base64(end_of_prefix(keys.root()))},
                  {"start_revision", std::to_string(from.v)}}}}
        .dump();
}

// --- answers
// -------------------------------------------------------------------------------------------------------------

namespace {

Header header_of(const Json& object) {
    const Json& header = member(object, "header");
    return Header{number(header, "member_id"), number(header, "raft_term"), Revision(number(header, "revision"))};
}

KeyValue decode_key_value(const Json& object) {
    return KeyValue{bytes(object, "key"), bytes(object, "value"), Revision(number(object, "create_revision")),
                    Revision(number(object, "mod_revision")), LeaseId(number(object, "lease"))};
}

// The object of a success; an error as etcd words it, or as whoever else answers in its place does.
Result<Json> decode_answer(const HttpAnswer& answer) {
    auto parsed = parse_object(answer.body);
    if (answer.status == 200) return parsed;
    if (parsed && parsed->contains("code"))
        return std::unexpected(error_of(number(*parsed, "code"), text(*parsed, "error")));
    return fail(Code::kUnavailable, "the answer is HTTP status " + std::to_string(answer.status) +
                                        "; is this etcd's client address, and etcd 3.4 or later?");
}

}  // namespace

Result<TransactionAnswer> decode_transaction(const KeySpace& keys, const HttpAnswer& answer) {
    TRY(Json const parsed, decode_answer(answer));
    TransactionAnswer out;
    out.header = header_of(parsed);
    out.succeeded = flag(parsed, "succeeded");
    for (const Json& response : member(parsed, "responses"))
        for (const Json& found : member(member(response, "response_range"), "kvs")) {
            KeyValue item = decode_key_value(found);
            if (auto own = keys.own(item.key)) {
                item.key = *std::move(own);
                out.values.push_back(std::move(item));
            } else {
                out.slot_revision = item.mod_revision;
                out.slot_value = item.value;
            }
        }
    if (out.header.revision.is_zero()) return fail(Code::kCorrupt, "etcd's answer has no revision");
    return out;
}

Result<RangeAnswer> decode_range(const KeySpace& keys, const HttpAnswer& answer) {
    TRY(Json const parsed, decode_answer(answer));
    RangeAnswer out;
    out.header = header_of(parsed);
    if (out.header.revision.is_zero()) return fail(Code::kCorrupt, "etcd's answer has no revision");
    for (const Json& found : member(parsed, "kvs")) {
        KeyValue item = decode_key_value(found);
        auto own = keys.own(item.key);
        if (!own) continue;
        item.key = *std::move(own);
        out.items.push_back(std::move(item));
    }
    return out;
}

// Answers of streams stand in a `result` of their own, or have an `error` there.
Result<LeaseAnswer> decode_lease(const HttpAnswer& answer) {
    TRY(Json const parsed, decode_answer(answer));
    const Json& error = member(parsed, "error");
    if (error.is_object()) return std::unexpected(error_of(number(error, "grpc_code"), text(error, "message")));
    const Json& result = parsed.contains("result") ? member(parsed, "result") : parsed;
    return LeaseAnswer{header_of(result), number(result, "TTL") > 0};
}

Result<Header> decode_header(const HttpAnswer& answer) {
    TRY(Json const parsed, decode_answer(answer));
    return header_of(parsed);
}

Result<WatchAnswer> decode_watch(const KeySpace& keys, std::string_view line) {
    TRY(Json const parsed, parse_object(line));
    const Json& error = member(parsed, "error");
    if (error.is_object()) return std::unexpected(error_of(number(error, "grpc_code"), text(error, "message")));
    const Json& result = member(parsed, "result");
    if (!result.is_object()) return fail(Code::kCorrupt, "a watch's answer without a result");
    WatchAnswer out;
    out.ended = flag(result, "canceled");
    out.compacted = number(result, "compact_revision") != 0;
    for (const Json& event : member(result, "events")) {
        WatchAnswer::Change change{text(event, "type") == "DELETE", decode_key_value(member(event, "kv"))};
        out.revision = std::max(out.revision, change.item.mod_revision);
        auto own = keys.own(change.item.key);
        if (!own) continue;
        change.item.key = *std::move(own);
        out.changes.push_back(std::move(change));
    }
    return out;
}

bool is_refusal(const Error& error) {
    switch (error.code) {
        case Code::kInvalid:
        case Code::kNotFound:
        case Code::kNoSpace:
        case Code::kExists:
        case Code::kDenied:
            return true;
        default:
            return false;
    }
}

}  // namespace corelet::etcd
