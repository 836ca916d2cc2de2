// Decoding: the same byte range of any k fragments gives that of all others, for Reed-Solomon works byte by byte.
#include "base/checksum.h"
#include "chunk/chunk.pb.h"
#include "chunk/fragment_server.h"
#include "chunk/mesh_chunks.h"
#include "rt/combine.h"
#include "wire/message.h"

namespace corelet {

// What the reads of one decode have brought so far.
struct MeshChunks::Gather {
    std::vector<std::pair<u8, Buffer>> have;
    u64 chunk_bytes = 0;
    std::vector<u8> untried;  // best last
    usize running = 0;
    std::shared_ptr<Findings> findings = std::make_shared<Findings>();
    std::optional<Error> last;
    Notify changed;

    [[nodiscard]] bool has(u8 position) const {
        return std::any_of(have.begin(), have.end(), [&](const auto& piece) { return piece.first == position; });
    }
    void take(u8 position, MeshChunks::Piece piece) {
        chunk_bytes = std::max(chunk_bytes, piece.chunk_bytes);
        have.emplace_back(position, std::move(piece.bytes));
    }
};

Result<ec::Codec*> MeshChunks::codec(mesh::Redundancy redundancy) {
    auto& slot = codecs_[{redundancy.k, redundancy.m}];
    if (!slot) {
        TRY(ec::Codec made, ec::Codec::make(redundancy.k, redundancy.m));
        slot = std::make_unique<ec::Codec>(std::move(made));
    }
    return slot.get();
}

// All but one, those to ask first last. Among equals the least loaded, then data come first: they need no
// arithmetic.
std::vector<u8> MeshChunks::positions_by_rank(const mesh::Map& map, const mesh::Pool& pool, const Wanted& wanted,
                                              u8 but) const {
    std::vector<std::tuple<unsigned, u32, u8>> ranked;  // rank, load, position
    for (u8 position = 0; position < pool.spec.redundancy.width(); ++position) {
        if (position == but) continue;
        auto const holders = in_order(map, pool.holders(wanted.chunk, position), wanted);
        bool const none = holders.empty();
        ranked.emplace_back(none ? 5 : rank(map, holders.front()), none ? 0 : load(holders.front(), wanted.traffic),
                            position);
    }
    std::stable_sort(ranked.begin(), ranked.end());
    std::vector<u8> positions;
    for (auto each = ranked.rbegin(); each != ranked.rend(); ++each) positions.push_back(std::get<u8>(*each));
    return positions;
}

Task<void> MeshChunks::gather_one(Wanted wanted, u8 position, std::shared_ptr<Gather> gather) {
    auto piece = co_await read_holders(wanted, position, {}, gather->findings);
    --gather->running;
    if (piece) {
        gather->take(position, *std::move(piece));
    } else {
        gather->last = piece.error();
    }
    gather->changed.notify_all();
}

namespace {

std::string named(const std::set<CoreletId>& corelets) {
    std::string text;
    for (CoreletId id : corelets) text += (text.empty() ? "" : ", ") + to_string(id);
    return text;
}

// What may be said when fewer than k could be read (protocols 9.4).
Error too_few(ChunkId chunk, usize have, unsigned k, bool anybody_silent, unsigned corrupt,
              const std::string& silent, const std::string& out, const std::string& last) {
    std::string text = "chunk " + to_string(chunk) + ": " + std::to_string(have) + " of the " + std::to_string(k) +
                       " fragments needed could be read";
    if (anybody_silent)
        return Error{Code::kUnavailable, false, 0, text + "; no answer from " + silent + "; last: " + last};
    if (!out.empty()) text += "; the rest may lie on " + out + ", which the mesh has given up";
    return Error{corrupt != 0 ? Code::kCorrupt : Code::kUnknown, false, 0, text + "; last: " + last};
}

}  // namespace

// As many reads as are missing, the best first; one that fails is replaced at once, one that is slow gets company.
Task<Result<MeshChunks::Piece>> MeshChunks::decode_piece(Wanted wanted, u8 position, std::vector<u32> expected) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(wanted.pool);
    if (!pool)
        co_return fail(Code::kUnavailable, "pool " + std::to_string(wanted.pool.v) + " is not in the map here");
    mesh::Redundancy const redundancy = pool->spec.redundancy;
    CO_TRY(ec::Codec* const coder, codec(redundancy));
    ++stats_.degraded_gets;
    auto const gather = std::make_shared<Gather>();
    gather->untried = positions_by_rank(*map, *pool, wanted, position);
    bool const hurried = wanted.traffic == TrafficClass::kClient || wanted.traffic == TrafficClass::kControl;
    // The first k that come are decoded from; the pool says how many race. Who rebuilds is in no hurry.
    usize const at_once = hurried ? std::max<usize>(pool->spec.reads_at_once(), redundancy.k) : redundancy.k;
    Instant company{};
    {
        Scope reads(env_.executor);
        while (gather->have.size() < redundancy.k) {
            bool const late = !gather->untried.empty() && gather->running != 0 && env_.clock.now() >= company;
            if (!gather->untried.empty() && (late || gather->running + gather->have.size() < at_once)) {
                u8 const next = gather->untried.back();
                gather->untried.pop_back();
                ++gather->running;
                reads.spawn(gather_one(wanted, next, gather));
                auto const holders = in_order(*map, pool->holders(wanted.chunk, next), wanted);
                Duration patience = hurried ? options_.peers.least : options_.peers.most;
                if (hurried && !holders.empty()) patience = peers_.patience(holders.front(), wanted.length);
                company = std::max(company, env_.clock.now() + patience);
                continue;
            }
            if (gather->running == 0) break;
            (void)co_await gather->changed.wait_until(env_.clock,
                                                      gather->untried.empty() ? env_.clock.now() + 1_s : company);
        }
    }
    if (gather->have.size() < redundancy.k) co_await gather_strays(wanted, redundancy, gather);
    if (gather->have.size() < redundancy.k) {
        const Findings& found = *gather->findings;
        co_return std::unexpected(
            too_few(wanted.chunk, gather->have.size(), redundancy.k, !found.silent.empty(), found.corrupt,
                    named(found.silent), named(found.out),
                    gather->last ? gather->last->to_string() : std::string("nothing to ask")));
    }
    std::vector<ec::Piece> pieces;
    for (auto const& [from, bytes] : gather->have) pieces.push_back(ec::Piece{from, bytes.bytes()});
    Buffer out = Buffer::allocate(wanted.length);
    ec::MutablePiece const target[] = {{position, out.mutable_bytes()}};
    CO_TRY_VOID(coder->reconstruct(pieces, target));
    auto crcs = block_crcs(BufferChain(out));
    if (!expected.empty() && crcs != expected)
        co_return fail(Code::kCorrupt, "chunk " + to_string(wanted.chunk) + ": what was decoded does not verify");
    co_return Piece{std::move(out), std::move(crcs), gather->chunk_bytes};
}

// Which fragments of the chunk a corelet has, whatever the tables say, as bits.
Task<Result<u32>> MeshChunks::positions_at(CoreletId holder, ChunkId chunk, TrafficClass traffic) {
    pb::StatFragments message;
    message.set_space(chunk.space.v);
    message.set_seq(chunk.seq);
    CallOptions options;
    options.deadline = env_.clock.now() + 1_s;
    options.traffic = traffic;
    CO_TRY(Reply reply, co_await rpc_.call(holder, chunk_method::k_stat, encode_message(message), {}, options));
    CO_TRY(auto answer, decode_message<pb::StatFragmentsReply>(reply.body));
    u32 positions = 0;
    for (const auto& fragment : answer.fragments())
        if (fragment.position() < mesh::k_width_max) positions |= 1U << fragment.position();
    co_return positions;
}

// Where the tables lead to too few: anybody may still hold what its former tables gave it (protocols 9.3, 9.4).
Task<void> MeshChunks::gather_strays(Wanted wanted, mesh::Redundancy redundancy, std::shared_ptr<Gather> gather) {
    auto const map = maps_.current();
    std::vector<CoreletId> asked;
    std::vector<Task<Result<u32>>> asks;
    for (const mesh::Corelet& corelet : map->corelets) {
        bool const holds = mesh::may_store(corelet.role);
        // Also whoever asks: it may have another position than the one it lacks.
        if (!holds || (wanted.except_strays && corelet.id == wanted.except)) continue;
        if (corelet.presence == mesh::Presence::kOut) {
            gather->findings->out.insert(corelet.id);
            continue;
        }
        asked.push_back(corelet.id);
        asks.push_back(positions_at(corelet.id, wanted.chunk, wanted.traffic));
    }
    auto const answers = co_await join_all<Result<u32>>(std::move(asks));
    gather->findings->silent.clear();
    for (usize i = 0; i < asked.size() && gather->have.size() < redundancy.k; ++i) {
        if (!answers[i]) {
            gather->findings->silent.insert(asked[i]);
            continue;
        }
        for (u8 position = 0; position < redundancy.width() && gather->have.size() < redundancy.k; ++position) {
            if (((*answers[i] >> position) & 1U) == 0 || gather->has(position)) continue;
            auto piece = co_await read_direct(asked[i], wanted, position, {});
            if (piece) {
                gather->take(position, *std::move(piece));
            } else if (piece.error().code == Code::kCorrupt) {
                ++gather->findings->corrupt;
            } else if (piece.error().code != Code::kUnknown) {
                gather->findings->silent.insert(asked[i]);
            }
        }
    }
}

}  // namespace corelet
