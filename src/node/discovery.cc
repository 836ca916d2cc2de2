#include "node/discovery.h"

#include <algorithm>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/codec.h"

namespace corelet {

namespace {

constexpr std::string_view k_question_magic = "CLDQ";
constexpr std::string_view k_answer_magic = "CLDA";
constexpr u8 k_discovery_version = 1;
constexpr usize k_sum_bytes = 4;

Error no_discovery() {
    return Error{Code::kInvalid, false, 0, "discovery: not a datagram of this protocol"};
}

// Of what is between magic and checksum.
Result<Reader> open_discovery(Bytes datagram, std::string_view magic) {
    if (datagram.size() < magic.size() + 1 + k_sum_bytes || as_text(datagram.first(magic.size())) != magic)
        return std::unexpected(no_discovery());
    Bytes const body = datagram.first(datagram.size() - k_sum_bytes);
    Reader sum(datagram.subspan(body.size()));
    if (sum.get<u32>() != crc32c(body)) return std::unexpected(no_discovery());
    Reader in(body.subspan(magic.size()));
    if (u8 const version = in.get<u8>(); version != k_discovery_version)
        return fail(Code::kUnsupported, "discovery: a datagram of a newer version", version);
    return in;
}

std::vector<u8> sealed(Writer& out) {
    out.put(crc32c(out.bytes()));
    return std::move(out.mutable_data());
}

// They are shown to people, and come from anybody.
bool is_plain_text(std::string_view text) {
    return std::ranges::all_of(text, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view(".:-_[]").find(c) != std::string_view::npos;
    });
}

Result<std::vector<Address>> take_discovered(Reader& in) {
    usize const count = in.get<u8>();
    if (count == 0 || count > k_discovery_addresses_max) return std::unexpected(no_discovery());
    std::vector<Address> out;
    for (usize i = 0; i < count; ++i) {
        usize const size = in.get<u8>();
        if (size > k_discovery_address_bytes_max) return std::unexpected(no_discovery());
        Bytes const text = in.get_raw(size);
        if (in.failed() || !is_plain_text(as_text(text))) return std::unexpected(no_discovery());
        auto address = Address::parse(as_text(text));
        if (!address || address->kind != Address::Kind::kTcp) return std::unexpected(no_discovery());
        out.push_back(*std::move(address));
    }
    return out;
}

}  // namespace

std::vector<u8> encode_discovery(const DiscoveryQuestion& question) {
    Writer out;
    out.put_raw(as_bytes(k_question_magic)).put(k_discovery_version).put(question.nonce).put(question.mesh);
    // As long as any answer may be: whoever asks in another's name sends him no more than he spends.
    std::vector<u8> const padding(k_discovery_question_bytes - out.size() - k_sum_bytes, 0);
    out.put_raw(padding);
    return sealed(out);
}

std::vector<u8> encode_discovery(const DiscoveryAnswer& answer) {
    CORELET_ASSERT(!answer.addresses.empty() && answer.addresses.size() <= k_discovery_addresses_max);
    Writer out;
    out.put_raw(as_bytes(k_answer_magic)).put(k_discovery_version).put(answer.nonce).put(answer.mesh);
    out.put(answer.corelet).put_raw(answer.fingerprint).put(answer.corelets);
    out.put(static_cast<u8>(answer.addresses.size()));
    for (const Address& address : answer.addresses) {
        std::string const text = address.to_string();
        CORELET_ASSERT(text.size() <= k_discovery_address_bytes_max);
        out.put(static_cast<u8>(text.size())).put_raw(as_bytes(text));
    }
    auto datagram = sealed(out);
    CORELET_ASSERT(datagram.size() <= k_discovery_question_bytes);
    return datagram;
}

Result<DiscoveryQuestion> decode_discovery_question(Bytes datagram) {
    if (datagram.size() != k_discovery_question_bytes) return std::unexpected(no_discovery());
    TRY(Reader in, open_discovery(datagram, k_question_magic));
    DiscoveryQuestion out;
    out.nonce = in.get<u64>();
    out.mesh = in.get<MeshId>();
    if (std::ranges::any_of(in.rest(), [](u8 byte) { return byte != 0; })) return std::unexpected(no_discovery());
    return out;
}

Result<DiscoveryAnswer> decode_discovery_answer(Bytes datagram) {
    if (datagram.size() > k_discovery_question_bytes) return std::unexpected(no_discovery());
    TRY(Reader in, open_discovery(datagram, k_answer_magic));
    DiscoveryAnswer out;
    out.nonce = in.get<u64>();
    out.mesh = in.get<MeshId>();
    out.corelet = in.get<CoreletId>();
    if (in.remaining() < out.fingerprint.size()) return std::unexpected(no_discovery());
    std::ranges::copy(in.get_raw(out.fingerprint.size()), out.fingerprint.begin());
    out.corelets = in.get<u32>();
    TRY(out.addresses, take_discovered(in));
    if (!in.complete() || out.mesh.is_zero()) return std::unexpected(no_discovery());
    return out;
}

bool DiscoveryResponder::is_repeated(u64 nonce) {
    if (std::ranges::find(heard_, nonce) != heard_.end()) return true;
    heard_[next_heard_++ % heard_.size()] = nonce;
    return false;
}

bool DiscoveryResponder::has_budget(Instant now) {
    u64 const cost = 1'000'000'000 / limits_.per_second;
    u64 const most = cost * limits_.burst;
    u64 const passed = refilled_ ? static_cast<u64>(std::max<i64>(0, (now - *refilled_).ns)) : most;
    refilled_ = now;
    budget_ns_ = std::min(most, budget_ns_ + std::min(passed, most));
    if (budget_ns_ < cost) return false;
    budget_ns_ -= cost;
    return true;
}

std::optional<Duration> DiscoveryResponder::step(const DiscoveryQuestion& question, u32 corelets, Instant now,
                                                 Prng& random) {
    if (!question.mesh.is_zero() && question.mesh != mesh_) return std::nullopt;
    if (is_repeated(question.nonce)) return std::nullopt;
    if (corelets > limits_.answers_wanted && random.below(corelets) >= limits_.answers_wanted) return std::nullopt;
    if (!has_budget(now)) return std::nullopt;
    return Duration{static_cast<i64>(random.below(static_cast<u64>(limits_.spread.ns)))};
}

std::vector<Address> discoverable_addresses(const std::vector<Address>& listening, bool asker_is_local) {
    std::vector<Address> out;
    for (const Address& address : listening) {
        bool const reachable = address.kind == Address::Kind::kTcp && (asker_is_local || !address.is_local());
        std::string const text = address.to_string();
        bool const fits = text.size() <= k_discovery_address_bytes_max && is_plain_text(text);
        if (reachable && fits && out.size() < k_discovery_addresses_max) out.push_back(address);
    }
    return out;
}

}  // namespace corelet
