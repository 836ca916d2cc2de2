#include "base/checksum.h"
#include "chunk/chunk.pb.h"
#include "chunk/fragment_server.h"
#include "chunk/mesh_chunks.h"
#include "rt/combine.h"
#include "wire/message.h"

namespace corelet {

namespace {

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

}  // namespace

Duration MeshChunks::hedge_delay(CoreletId peer) const {
    auto const usual = usual_.find(peer);
    return std::max(options_.hedge_least, usual == usual_.end() ? Duration{} : usual->second * 8);
}

Task<Result<MeshChunks::Piece>> MeshChunks::read_direct(CoreletId from, FragmentId fragment, u64 offset, u64 length,
                                                        std::vector<u32> expected, TrafficClass traffic) {
    pb::ReadFragment message;
    message.set_space(fragment.chunk.space.v);
    message.set_seq(fragment.chunk.seq);
    message.set_position(fragment.position);
    message.set_offset(offset);
    message.set_length(length);
    message.set_unverified(!expected.empty());
    CallOptions options;
    options.deadline = env_.clock.now() + options_.fragment_timeout;
    options.traffic = traffic;
    options.reply_bytes_expected = static_cast<u32>(length);
    options.checks_payload = true;
    Instant const sent = env_.clock.now();
    CO_TRY(Reply reply, co_await rpc_.call(from, chunk_method::k_read, encode_message(message), {}, options));
    Duration& usual = usual_[from];
    usual = usual.ns == 0 ? env_.clock.now() - sent : (usual * 7 + (env_.clock.now() - sent)) / 8;
    if (reply.payload.size() != length) co_return fail(Code::kCorrupt, "a fragment read came back short");
    if (expected.empty()) {
        CO_TRY(auto answer, decode_message<pb::ReadFragmentReply>(reply.body));
        expected.assign(answer.block_crcs().begin(), answer.block_crcs().end());
        if (expected.size() != length / k_block_bytes) co_return fail(Code::kCorrupt, "a fragment read came without its checksums");
    }
    if (block_crcs(reply.payload) != expected) {
        ++stats_.bad_fragments;
        log_warning(env_.log, "chunk.bad_fragment", [&] { return to_string(fragment.chunk) + "." + std::to_string(fragment.position) + " on " + to_string(from); });
        co_return fail(Code::kCorrupt, "fragment " + std::to_string(fragment.position) + " of " + to_string(fragment.chunk) + " on " + to_string(from) + " does not verify");
    }
    co_return Piece{reply.payload.flatten(), std::move(expected)};
}

// The current holder, then former ones. "Unknown" at one proves nothing about another.
Task<Result<MeshChunks::Piece>> MeshChunks::read_holders(PoolId pool_id, FragmentId fragment, u64 offset, u64 length,
                                                         std::vector<u32> expected, TrafficClass traffic, CoreletId except) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) co_return fail(Code::kUnavailable, "pool " + std::to_string(pool_id.v) + " is not in the map here");
    Error last{Code::kUnavailable, false, 0, "no holder of the fragment is up"};
    for (CoreletId holder : pool->holders(fragment.chunk, fragment.position)) {
        if (holder == except || !map->is_up(holder)) continue;
        auto piece = co_await read_direct(holder, fragment, offset, length, expected, traffic);
        if (piece) co_return piece;
        last = piece.error();
    }
    co_return std::unexpected(last);
}

// Reed-Solomon is bytewise: the same range of any k others gives it.
Task<Result<MeshChunks::Piece>> MeshChunks::decode_piece(PoolId pool_id, FragmentId fragment, u64 offset, u64 length,
                                                         std::vector<u32> expected, TrafficClass traffic, CoreletId except) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) co_return fail(Code::kUnavailable, "pool " + std::to_string(pool_id.v) + " is not in the map here");
    mesh::Redundancy const redundancy = pool->spec.redundancy;
    CO_TRY(ec::Codec* const coder, codec(redundancy));
    ++stats_.degraded_gets;
    std::vector<std::pair<u8, Buffer>> have;
    std::vector<u8> untried;
    for (unsigned p = 0; p < redundancy.width(); ++p)
        if (p != fragment.position) untried.push_back(static_cast<u8>(p));
    // Rounds of exactly as many as are missing; data positions first.
    unsigned unknown = 0;
    Error last{Code::kUnavailable, false, 0, {}};
    while (have.size() < redundancy.k && !untried.empty()) {
        usize const ask = std::min(untried.size(), redundancy.k - have.size());
        std::vector<Task<Result<Piece>>> reads;
        for (usize i = 0; i < ask; ++i)
            reads.push_back(read_holders(pool_id, FragmentId{fragment.chunk, untried[i]}, offset, length, {}, traffic, except));
        auto results = co_await join_all<Result<Piece>>(std::move(reads));
        for (usize i = 0; i < ask; ++i) {
            if (results[i]) {
                have.emplace_back(untried[i], std::move(results[i]->bytes));
            } else {
                unknown += results[i].error().code == Code::kUnknown ? 1 : 0;
                last = results[i].error();
            }
        }
        untried.erase(untried.begin(), untried.begin() + static_cast<std::ptrdiff_t>(ask));
    }
    if (have.size() < redundancy.k) {
        Code const code = unknown == 0 ? last.code : Code::kUnknown;
        co_return fail(code, "chunk " + to_string(fragment.chunk) + ": " + std::to_string(have.size()) + " of the " +
                                 std::to_string(redundancy.k) + " fragments needed could be read; last: " + last.to_string());
    }
    std::vector<ec::Piece> pieces;
    for (auto const& [position, bytes] : have) pieces.push_back(ec::Piece{position, bytes.bytes()});
    Buffer out = Buffer::allocate(length);
    ec::MutablePiece const wanted[] = {{fragment.position, out.mutable_bytes()}};
    CO_TRY_VOID(coder->reconstruct(pieces, wanted));
    auto crcs = block_crcs(BufferChain(out));
    if (!expected.empty() && crcs != expected)
        co_return fail(Code::kCorrupt, "chunk " + to_string(fragment.chunk) + ": what was decoded does not verify");
    co_return Piece{std::move(out), std::move(crcs)};
}

Task<Result<MeshChunks::Piece>> MeshChunks::read_piece(PoolId pool, FragmentId fragment, u64 offset, u64 length, std::vector<u32> expected,
                                                       TrafficClass traffic, CoreletId except) {
    auto piece = co_await read_holders(pool, fragment, offset, length, expected, traffic, except);
    if (piece) co_return piece;
    co_return co_await decode_piece(pool, fragment, offset, length, std::move(expected), traffic, except);
}

Task<Result<MeshChunks::Piece>> MeshChunks::hedged_piece(PoolId pool_id, FragmentId fragment, u64 offset, u64 length,
                                                         std::vector<u32> expected, TrafficClass traffic) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) co_return fail(Code::kUnavailable, "pool " + std::to_string(pool_id.v) + " is not in the map here");
    auto const race = std::make_shared<Race>();
    Scope scope(env_.executor);
    scope.spawn(run_racer(read_holders(pool_id, fragment, offset, length, expected, traffic, {}), race, true));
    auto const holders = pool->holders(fragment.chunk, fragment.position);
    Instant const patience = env_.clock.now() + hedge_delay(holders.empty() ? CoreletId{} : holders.front());
    while (!race->direct && env_.clock.now() < patience) co_await race->changed.wait_until(env_.clock, patience);
    if (race->direct && *race->direct) co_return *std::move(race->direct);
    if (!race->direct) ++stats_.hedged_gets;
    scope.spawn(run_racer(decode_piece(pool_id, fragment, offset, length, std::move(expected), traffic, {}), race, false));
    for (;;) {
        if (race->direct && *race->direct) co_return *std::move(race->direct);
        if (race->decoded && (*race->decoded || race->direct)) co_return *std::move(race->decoded);
        co_await race->changed.wait();
    }
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
    auto const part_of = [&](const ec::FragmentRange& range) {
        if (expected_crcs.empty()) return std::vector<u32>{};
        auto const first = expected_crcs.begin() + static_cast<std::ptrdiff_t>(range.range_offset / k_block_bytes);
        return std::vector<u32>(first, first + static_cast<std::ptrdiff_t>(range.length / k_block_bytes));
    };
    std::vector<Task<Result<Piece>>> reads;
    for (const ec::FragmentRange& range : ranges) {
        // Of copies, one's own is nearest; else readers spread by the chunk's number.
        u8 position = range.position;
        if (redundancy.is_replicated()) {
            auto const row = pool->current().row(pool->slot(chunk));
            position = static_cast<u8>(chunk.seq % redundancy.width());
            for (usize p = 0; p < row.size(); ++p)
                if (row[p] == rpc_.id()) position = static_cast<u8>(p);
        }
        reads.push_back(hedged_piece(pool_id, FragmentId{chunk, position}, range.offset, range.length, part_of(range), traffic));
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
