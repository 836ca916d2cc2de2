// Reading: one holder, all holders of a fragment, and the race between them and decoding.
#include "base/checksum.h"

#include "base/fault_point.h"
#include "chunk/chunk.pb.h"
#include "chunk/fragment_server.h"
#include "chunk/mesh_chunks.h"
#include "rt/combine.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr usize k_reports_max = 32;  // of bad fragments, under way; more are found by the next reader
constexpr Duration k_reconsider = 10_ms;
constexpr usize k_late_max = 64;  // reads that go on when somebody else was faster: what they took is worth knowing

// Where a hedged read ends: the first of two to succeed.
struct Race {
    std::optional<Result<MeshChunks::Piece>> direct, decoded;
    Notify changed;
};
Task<void> run_racer(Task<Result<MeshChunks::Piece>> task, std::shared_ptr<Race> race, bool direct) {
    auto result = co_await std::move(task);
    (direct ? race->direct : race->decoded).emplace(std::move(result));
    race->changed.notify_all();
}
bool is_urgent(TrafficClass traffic) {
    return traffic == TrafficClass::kControl || traffic == TrafficClass::kClient;
}
bool succeeded(const std::optional<Result<MeshChunks::Piece>>& end) {
    return end && *end;
}

}  // namespace

// --- one holder
// ------------------------------------------------------------------------------------------------------

Task<Result<MeshChunks::Piece>> MeshChunks::read_direct(CoreletId from, Wanted wanted, u8 position,
                                                        std::vector<u32> expected) {
    FragmentId const fragment{wanted.chunk, position};
    pb::ReadFragment message;
    message.set_space(fragment.chunk.space.v);
    message.set_seq(fragment.chunk.seq);
    message.set_position(position);
    message.set_offset(wanted.offset);
    message.set_length(wanted.length);
    bool const unverified = !expected.empty();
    message.set_unverified(unverified);
    Instant const sent = env_.clock.now();
    CallOptions options;
    options.deadline = sent + options_.fragment_timeout;
    options.traffic = wanted.traffic;
    options.reply_bytes_expected = static_cast<u32>(wanted.length);
    options.checks_payload = true;
    // What waits behind clients by its class says nothing of the peer.
    std::optional<PeerBook::Question> question;
    WatchedRequest watched(is_urgent(wanted.traffic) ? observer_ : nullptr, from, RequestNeed::kDevice, sent);
    if (is_urgent(wanted.traffic)) question.emplace(peers_, from, wanted.length, sent);
    std::optional<SourceBook::Reading> reading;
    if (!is_urgent(wanted.traffic)) reading.emplace(sources_, from);
    auto reply = co_await rpc_.call(from, chunk_method::k_read, encode_message(message), {}, options);
    Instant const now = env_.clock.now();
    watched.ended(request_end(reply), now);
    if (!reply) {
        bool const unheard = reply.error().code == Code::kReset || reply.error().code == Code::kTimeout;
        if (question && unheard) question->failed(now);
        if (question && !unheard) question->answered(now);
        co_return std::unexpected(reply.error());
    }
    if (question) question->answered(now);
    Piece piece;
    if (reply->payload.size() != wanted.length) co_return fail(Code::kCorrupt, "a fragment read came back short");
    if (!unverified) {
        CO_TRY(auto answer, decode_message<pb::ReadFragmentReply>(reply->body));
        expected.assign(answer.block_crcs().begin(), answer.block_crcs().end());
        piece.chunk_bytes = answer.chunk_bytes();
        note_strain(from, answer.strain());
        if (expected.size() != wanted.length / k_block_bytes)
            co_return fail(Code::kCorrupt, "a fragment read came without its checksums");
    }
    if (block_crcs(reply->payload) != expected) {
        ++stats_.bad_fragments;
        log_warning(env_.log, "chunk.bad_fragment", [&] {
            return to_string(fragment.chunk) + "." + std::to_string(position) + " on " + to_string(from);
        });
        // Its holder did not look: it is told.
        if (unverified) report_bad(from, fragment);
        co_return fail(Code::kCorrupt, "fragment " + std::to_string(position) + " of " + to_string(fragment.chunk) +
                                           " on " + to_string(from) + " does not verify");
    }
    piece.bytes = reply->payload.flatten();
    piece.crcs = std::move(expected);
    co_return piece;
}

void MeshChunks::report_bad(CoreletId holder, FragmentId fragment) {
    if (reports_.size() >= k_reports_max) return;
    pb::FragmentName name;
    name.set_space(fragment.chunk.space.v);
    name.set_seq(fragment.chunk.seq);
    name.set_position(fragment.position);
    reports_.spawn(send_report(holder, encode_message(name)));
}

Task<void> MeshChunks::send_report(CoreletId holder, Buffer body) {
    CallOptions options;
    options.deadline = env_.clock.now() + options_.fragment_timeout;
    options.traffic = TrafficClass::kHeal;
    (void)co_await rpc_.call(holder, chunk_method::k_report, std::move(body), {}, options);
}

// --- its holders
// -----------------------------------------------------------------------------------------------------

// Whom to ask first: oneself, those that answer, slow ones, those that lately did not, those that the map has as
// down (it may be wrong).
unsigned MeshChunks::rank(const mesh::Map& map, CoreletId holder) const {
    bool const slow = peers_.is_slow(holder);
    if (holder == rpc_.id()) return slow ? 2 : 0;
    if (!map.is_up(holder)) return 4;
    return peers_.is_suspect(holder, env_.clock.now()) ? 3 : slow ? 2 : 1;
}

// Clients go by what they have seen of a peer; who heals, by how much it asks of each.
u32 MeshChunks::load(CoreletId holder, TrafficClass traffic) const {
    return is_urgent(traffic) ? 0 : sources_.load(holder, env_.clock.now());
}

void MeshChunks::note_strain(CoreletId source, u32 permille) {
    if (permille == 0) return;
    sources_.told(source, permille, env_.clock.now());
    if (strain_listener_) strain_listener_(source, permille);
}

std::vector<CoreletId> MeshChunks::in_order(const mesh::Map& map, std::vector<CoreletId> holders,
                                            const Wanted& wanted) const {
    std::erase(holders, wanted.except);
    if (holders.size() < 2) return holders;
    // Ranked once each: time, and with it who is suspect, may go on while they are compared.
    using Rank = std::pair<unsigned, u32>;
    std::vector<std::pair<Rank, CoreletId>> ranked;
    for (CoreletId holder : holders)
        ranked.emplace_back(Rank{rank(map, holder), load(holder, wanted.traffic)}, holder);
    std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (usize i = 0; i < ranked.size(); ++i) holders[i] = ranked[i].second;
    return holders;
}

// The current holder and former ones. "Unknown" at one proves nothing about another, and no answer nothing about
// itself.
Task<Result<MeshChunks::Piece>> MeshChunks::read_holders(Wanted wanted, u8 position, std::vector<u32> expected,
                                                         std::shared_ptr<Findings> findings) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(wanted.pool);
    if (!pool)
        co_return fail(Code::kUnavailable, "pool " + std::to_string(wanted.pool.v) + " is not in the map here");
    Error last{Code::kUnknown, false, 0, "nobody holds the fragment"};
    bool corrupt = false, silent = false;
    auto const holders = in_order(*map, pool->holders(wanted.chunk, position), wanted);
    for (CoreletId holder : holders) {
        const mesh::Corelet* const corelet = map->find(holder);
        if (!corelet || corelet->presence == mesh::Presence::kOut) {
            findings->out.insert(holder);
            continue;
        }
        auto piece = co_await read_direct(holder, wanted, position, expected);
        if (piece) co_return piece;
        if (piece.error().code == Code::kUnknown) {
            last = corrupt || silent ? last : piece.error();
            continue;
        }
        last = piece.error();
        corrupt = corrupt || piece.error().code == Code::kCorrupt;
        if (piece.error().code == Code::kCorrupt) continue;
        silent = true;
        findings->silent.insert(holder);
    }
    if (!silent) ++(corrupt ? findings->corrupt : findings->denied);
    co_return std::unexpected(last);
}

Task<Result<MeshChunks::Piece>> MeshChunks::read_piece(Wanted wanted, u8 position, std::vector<u32> expected) {
    auto piece = co_await read_holders(wanted, position, expected, std::make_shared<Findings>());
    if (piece) co_return piece;
    co_return co_await decode_piece(wanted, position, std::move(expected));
}

// --- hedged
// ----------------------------------------------------------------------------------------------------------

// One request to the holder. When it fails, or takes longer than it usually does, the same range is decoded from
// others beside it; a holder that lately did not answer is only asked when decoding fails too.
Task<Result<MeshChunks::Piece>> MeshChunks::hedged_piece(Wanted wanted, u8 position, std::vector<u32> expected) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(wanted.pool);
    if (!pool)
        co_return fail(Code::kUnavailable, "pool " + std::to_string(wanted.pool.v) + " is not in the map here");
    auto const race = std::make_shared<Race>();
    auto const holders = in_order(*map, pool->holders(wanted.chunk, position), wanted);
    CoreletId const holder = holders.empty() ? CoreletId{} : holders.front();
    Instant const began = env_.clock.now();
    bool asked = !holder.is_zero() && map->is_up(holder) && peers_.try_now(holder, began);
    Scope scope(env_.executor);
    if (asked) {
        (late_.size() < k_late_max ? late_ : scope)
            .spawn(run_racer(read_holders(wanted, position, expected, std::make_shared<Findings>()), race, true));
        Instant const give_up = began + options_.peers.most;
        Instant patience =
            began + (FAULT_POINT("chunk.hedge_early") ? Duration{} : peers_.patience(holder, wanted.length));
        for (bool hedge = false; !race->direct && !hedge;) {
            (void)co_await race->changed.wait_until(env_.clock, patience);
            Instant const now = env_.clock.now();
            if (race->direct || now < patience) continue;
            // Not more than one read of twenty-five is sent twice; beyond that only what its holder probably will
            // not answer, or is known to take long for.
            hedge = now >= give_up || peers_.is_suspect(holder, now) || peers_.is_slow(holder) || hedges_.take() ||
                    FAULT_POINT("chunk.hedge_early");
            patience = std::min(patience + k_reconsider, give_up);
        }
        if (succeeded(race->direct)) co_return *std::move(race->direct);
        if (!race->direct) ++stats_.hedged_gets;
    }
    scope.spawn(run_racer(decode_piece(wanted, position, expected), race, false));
    for (;;) {
        if (succeeded(race->direct)) co_return *std::move(race->direct);
        if (succeeded(race->decoded)) co_return *std::move(race->decoded);
        if (race->decoded && (race->direct || holder.is_zero())) co_return *std::move(race->decoded);
        if (race->decoded && !asked) {
            asked = true;
            scope.spawn(
                run_racer(read_holders(wanted, position, expected, std::make_shared<Findings>()), race, true));
        }
        co_await race->changed.wait();
    }
}

// Of copies, one's own is nearest; else readers spread by the chunk's number, over those that answer.
u8 MeshChunks::pick_copy(const mesh::Map& map, const mesh::Pool& pool, ChunkId chunk) const {
    auto const row = pool.current().row(pool.slot(chunk));
    u8 best = static_cast<u8>(chunk.seq % row.size());
    for (usize step = 0; step < row.size(); ++step) {
        auto const position = static_cast<u8>((chunk.seq + step) % row.size());
        if (row[position] == rpc_.id() && !peers_.is_slow(rpc_.id())) return position;
        if (!row[position].is_zero() && (row[best].is_zero() || rank(map, row[position]) < rank(map, row[best])))
            best = position;
    }
    return best;
}

Task<Result<BufferChain>> MeshChunks::get(PoolId pool_id, ChunkId chunk, u64 chunk_bytes, u64 offset, u64 length,
                                          std::vector<u32> expected_crcs, TrafficClass traffic) {
    CORELET_ASSERT(offset % k_block_bytes == 0 && length % k_block_bytes == 0 && length > 0);
    CORELET_ASSERT(expected_crcs.empty() || expected_crcs.size() == length / k_block_bytes);
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) co_return fail(Code::kUnavailable, "pool " + std::to_string(pool_id.v) + " is not in the map here");
    mesh::Redundancy const redundancy = pool->spec.redundancy;
    CO_TRY(auto geometry, ec::ChunkGeometry::make(chunk_bytes, redundancy.k));
    CO_TRY(auto ranges, geometry.locate(offset, length));
    ++stats_.gets;
    stats_.get_bytes += length;
    hedges_.read_begins();
    auto const part_of = [&](const ec::FragmentRange& range) {
        if (expected_crcs.empty()) return std::vector<u32>{};
        auto const first = expected_crcs.begin() + static_cast<std::ptrdiff_t>(range.range_offset / k_block_bytes);
        return std::vector<u32>(first, first + static_cast<std::ptrdiff_t>(range.length / k_block_bytes));
    };
    std::vector<Task<Result<Piece>>> reads;
    for (const ec::FragmentRange& range : ranges) {
        u8 const position = redundancy.is_replicated() ? pick_copy(*map, *pool, chunk) : range.position;
        reads.push_back(
            hedged_piece(Wanted{pool_id, chunk, range.offset, range.length, traffic}, position, part_of(range)));
    }
    BufferChain out;
    if (reads.size() == 1) {
        CO_TRY(Piece piece, co_await std::move(reads.front()));
        out.append(std::move(piece.bytes));
        co_return out;
    }
    for (auto& result : co_await join_all<Result<Piece>>(std::move(reads))) {
        if (!result) co_return std::unexpected(result.error());
        out.append(std::move(result->bytes));
    }
    co_return out;
}

}  // namespace corelet
