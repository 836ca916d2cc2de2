// Audits (ADR 24): at random times a corelet challenges another member of a slot that both serve. The answer is
// made from the fragment's bytes as the device gives them now, and is held against what k others give, oneself
// among them. Its rules:
// - Only what is settled counts: while a pool's places move nobody is asked about it, and what a chunk's owner has
//   given up, or has not finished, nobody need have.
// - Nobody is accused for one wrong answer: a put may be under way, a place may have moved, a source may have been
//   repaired meanwhile. It is asked again after two rounds of healing, in which whoever has noticed by itself what
//   it lacks has made it again. Who has not the bytes then has lost them or lies.
// - Who is accused is asked more often than others for a while, and what it should have is made from others and put
//   there. A holder that has other bytes under the name refuses it: nothing is overwritten.
#include <algorithm>

#include "base/mac.h"
#include "heal/heal.pb.h"
#include "heal/healer.h"
#include "wire/message.h"

namespace corelet {

namespace {
constexpr u64 k_blocks_most = 16;  // in a challenge
constexpr u64 k_length_most = 1 * k_mib;
constexpr usize k_nonce_bytes = 16;
constexpr int k_draws = 32;           // until a slot with something in it is found
constexpr u32 k_suspect_audits = 16;  // in quick succession, of who failed one
constexpr i64 k_suspect_share = 8;    // of the usual time between two
constexpr Duration k_answer_within = 10_s;

MacTag audit_tag(std::string_view nonce, const Buffer& bytes) {
    return MacKey(nonce, "corelet audit").tag(bytes.bytes());
}
}  // namespace

// --- the one who is asked ---

Task<Result<Reply>> Healer::on_audit(Request request) {
    CO_TRY(auto question, decode_message<pb::AuditFragment>(request.body));
    bool const aligned = question.offset() % k_block_bytes == 0 && question.length() % k_block_bytes == 0;
    if (!aligned || question.length() == 0 || question.length() > k_length_most ||
        question.position() >= mesh::k_width_max || question.nonce().size() != k_nonce_bytes)
        co_return fail(Code::kInvalid, "a challenge is over whole blocks, at most 1 MiB, with a nonce of 16 bytes");
    FragmentId const id{ChunkId{SpaceId(question.space()), question.seq()}, static_cast<u8>(question.position())};
    if (removing_.contains(id)) co_return fail(Code::kUnknown, "it is on its way out");
    ReadOptions read;
    read.io = IoClass::kScrub;
    auto const data = co_await store_.read_fragment(id, question.offset(), question.length(), read);
    if (!data) {
        if (tells_of_damage(data.error())) damaged(id, FoundBy::kAudit);
        co_return std::unexpected(data.error());
    }
    MacTag const tag = audit_tag(question.nonce(), data->data.flatten());
    pb::AuditFragmentReply reply;
    reply.set_tag(tag.data(), tag.size());
    co_return Reply{encode_message(reply), {}};
}

// --- the one who asks ---

Task<void> Healer::audit_on() {
    for (;;) {
        i64 const every = suspect_.is_zero() ? options_.audit_every.ns : options_.audit_every.ns / k_suspect_share;
        u64 const spread = static_cast<u64>(std::max<i64>(every, 1));
        co_await env_.clock.sleep(Duration{every / 2 + static_cast<i64>(env_.random.below(spread))});
        if (status_.paused || store_.is_failing() || store_.has_forgotten()) continue;
        auto const challenge = draw_challenge();
        if (!suspect_.is_zero() && ++suspect_audits_ >= k_suspect_audits) suspect_ = {};
        if (challenge) co_await audit(*challenge);
    }
}

// Any chunk of any slot that is served here, as far as this corelet knows of it; of a suspect's, if there is one.
std::optional<Healer::Challenge> Healer::draw_challenge() {
    auto const map = maps_.current();
    if (map->pools.empty() || !inventory_.is_up_to(*map, spaces_)) return std::nullopt;
    const mesh::Pool& pool = map->pools[env_.random.below(map->pools.size())];
    if (pool.tables.size() != 1) return std::nullopt;
    auto const places = pool.current().places_of(rpc_.id());
    for (int draw = 0; draw < k_draws && !places.empty(); ++draw)
        if (auto found = challenge_in(*map, pool, places[env_.random.below(places.size())].first)) return found;
    return std::nullopt;
}

std::optional<Healer::Challenge> Healer::challenge_in(const mesh::Map& map, const mesh::Pool& pool, u32 slot) {
    const SlotHoldings* const holdings = inventory_.find(pool.id, slot);
    if (!holdings || holdings->chunks.empty()) return std::nullopt;
    ChunkId const chunk = holdings->chunks[env_.random.below(holdings->chunks.size())];
    auto const own = pool.current().position_of(slot, rpc_.id());
    auto const info = own ? store_.fragment_info(FragmentId{chunk, *own}) : std::nullopt;
    if (!info || info->bytes == 0) return std::nullopt;
    std::vector<u8> others;
    for (u8 position = 0; position < pool.current().width(); ++position) {
        CoreletId const member = pool.current().at(slot, position);
        bool const wanted = suspect_.is_zero() || member == suspect_;
        if (!member.is_zero() && member != rpc_.id() && map.is_up(member) && wanted) others.push_back(position);
    }
    if (others.empty()) return std::nullopt;
    u8 const position = others[env_.random.below(others.size())];
    u64 const blocks = info->bytes / k_block_bytes;
    u64 const count = env_.random.between(1, std::min(blocks, k_blocks_most));
    return Challenge{pool.id,
                     pool.current().epoch(),
                     pool.current().at(slot, position),
                     FragmentId{chunk, position},
                     info->bytes,
                     env_.random.below(blocks - count + 1) * k_block_bytes,
                     count * k_block_bytes};
}

bool Healer::still_holds(const Challenge& challenge) const {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(challenge.pool);
    return pool && pool->tables.size() == 1 && pool->current().epoch() == challenge.table &&
           map->is_up(challenge.holder);
}

Task<bool> Healer::is_alive(ChunkId chunk) {
    if (spaces_.seems_deleted(chunk.space)) co_return false;
    auto const fates = co_await port_.fates(chunk.space, {chunk.seq});
    co_return !fates || (!fates->dead.contains(chunk.seq) && !fates->pending.contains(chunk.seq));
}

// Asks, and makes the same bytes from others.
Task<Healer::Verdict> Healer::examine(Challenge challenge) {
    std::string nonce;
    while (nonce.size() < k_nonce_bytes) {
        u64 const word = env_.random.next();
        nonce.append(reinterpret_cast<const char*>(&word), sizeof word);
    }
    pb::AuditFragment question;
    question.set_space(challenge.fragment.chunk.space.v);
    question.set_seq(challenge.fragment.chunk.seq);
    question.set_position(challenge.fragment.position);
    question.set_offset(challenge.offset);
    question.set_length(static_cast<u32>(challenge.length));
    question.set_nonce(nonce);
    CallOptions options;
    options.deadline = env_.clock.now() + k_answer_within;
    options.traffic = TrafficClass::kScrub;
    auto const reply =
        co_await rpc_.call(challenge.holder, heal_method::k_audit, encode_message(question), {}, options);
    if (!reply) {
        Code const code = reply.error().code;
        bool const lacks = code == Code::kUnknown || code == Code::kInvalid || tells_of_damage(reply.error());
        co_return lacks ? Verdict::kLacks : Verdict::kOpen;
    }
    auto const answer = decode_message<pb::AuditFragmentReply>(reply->body);
    MeshChunks::Wanted const wanted{challenge.pool,        challenge.fragment.chunk, challenge.offset,
                                    challenge.length,      TrafficClass::kScrub,     challenge.holder,
                                    /*except_strays=*/true};
    auto const piece = co_await chunks_.read_piece(wanted, challenge.fragment.position, {});
    if (!piece) co_return Verdict::kOpen;
    bool const same = answer && same_secret(as_bytes(answer->tag()), audit_tag(nonce, piece->bytes));
    co_return same ? Verdict::kPassed : Verdict::kLies;
}

Task<void> Healer::audit(Challenge challenge) {
    Verdict const first = co_await examine(challenge);
    if (first == Verdict::kPassed) ++status_.audits;
    if (first == Verdict::kPassed || first == Verdict::kOpen) co_return;
    co_await env_.clock.sleep(options_.round_every * 2);
    if (!still_holds(challenge) || !co_await is_alive(challenge.fragment.chunk)) co_return;
    Verdict const second = co_await examine(challenge);
    if (second == Verdict::kPassed || second == Verdict::kOpen || !still_holds(challenge)) co_return;
    ++status_.audits_failed;
    suspect_ = challenge.holder;
    suspect_audits_ = 0;
    std::string const why = second == Verdict::kLies ? "it says that it has the bytes, and does not"
                                                     : "it has not the bytes that it should have";
    log_warning(env_.log, "heal.audit_failed", [&] {
        return to_string(challenge.holder) + ", fragment " + std::to_string(challenge.fragment.position) + " of " +
               to_string(challenge.fragment.chunk) + ": " + why;
    });
    port_.audit_failed(challenge.holder, challenge.fragment, why);
    auto const repaired = co_await repair_at(challenge);
    if (!repaired)
        log_info(env_.log, "heal.audited_not_repaired",
                 [&] { return to_string(challenge.fragment.chunk) + ": " + repaired.error().to_string(); });
}

Task<Result<void>> Healer::repair_at(Challenge challenge) {
    CO_TRY(Made made,
           co_await make_fragment(challenge.pool, challenge.fragment, challenge.fragment_bytes, challenge.holder));
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(challenge.pool);
    if (!pool || !still_holds(challenge)) co_return fail(Code::kStaleMap, "places have moved meanwhile");
    MeshChunks::FragmentPut put;
    put.pool = challenge.pool;
    put.fragment = challenge.fragment;
    put.table = pool->tables.front();
    put.redundancy = pool->spec.redundancy;
    put.chunk_bytes = made.chunk_bytes;
    put.data = std::move(made.data);
    put.crcs = std::move(made.crcs);
    put.traffic = TrafficClass::kHeal;
    put.rebuilt = true;
    co_return co_await chunks_.put_fragment(challenge.holder, std::move(put));
}

}  // namespace corelet
