#include "heal/chunk_care.h"

#include <algorithm>
#include <bit>

#include "heal/heal.pb.h"
#include "rt/scope.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr Duration k_look_limit = 8_s;
constexpr Duration k_order_limit = 30_s;

CallOptions care_call(Clock& clock, Duration limit) {
    CallOptions options;
    options.deadline = clock.now() + limit;
    options.traffic = TrafficClass::kHeal;
    return options;
}

template <class M>
Task<Result<M>> ask_care(RpcNode* rpc, CoreletId peer, Method method, Buffer body, CallOptions options) {
    CO_TRY(Reply const reply, co_await rpc->call(peer, method, std::move(body), {}, options));
    co_return decode_message<M>(reply.body);
}

// What is still open, by whom it is asked of.
std::map<CoreletId, std::vector<ChunkCare::Outcome*>> open_by_corelet(std::vector<ChunkCare::Outcome>& outcomes) {
    std::map<CoreletId, std::vector<ChunkCare::Outcome*>> out;
    for (ChunkCare::Outcome& each : outcomes)
        if (each.why.empty()) out[each.place.corelet].push_back(&each);
    return out;
}

}  // namespace

ChunkFinding judge_chunk(const mesh::Pool& pool, ChunkId chunk, const std::map<CoreletId, ChunkSight>& sights) {
    ChunkFinding out;
    out.chunk = chunk;
    auto const row = pool.current().row(pool.slot(chunk));
    u32 sound = 0;
    for (auto const& [id, sight] : sights) {
        u32 const here = sight.positions & ~sight.damaged;
        sound |= here;
        out.blocks = std::max(out.blocks, sight.blocks);
        for (u8 p = 0; p < row.size(); ++p)
            if (((here >> p) & 1U) != 0 && row[p] != id) out.strays.push_back({id, p, false});
    }
    out.survivors = static_cast<u8>(std::popcount(sound));
    for (u8 p = 0; p < row.size(); ++p) {
        auto const sight = sights.find(row[p]);
        if (row[p].is_zero() || sight == sights.end()) {
            out.unseen.push_back({row[p], p, false});
            continue;
        }
        bool const has = ((sight->second.positions >> p) & 1U) != 0;
        bool const damaged = ((sight->second.damaged >> p) & 1U) != 0;
        (has && !damaged ? out.present : out.lacking).push_back({row[p], p, has && damaged});
    }
    return out;
}

Task<void> ChunkCare::ask_sights(CoreletId peer, Request request, Asked* asked, Sights* sights) {
    pb::LookAtChunks question;
    question.set_space(request.space.v);
    question.mutable_seqs()->Add(asked->seqs.begin(), asked->seqs.end());
    question.set_verify(request.verify);
    auto const answer = co_await ask_care<pb::LookAtChunksReply>(
        &rpc_, peer, heal_method::k_look, encode_message(question), care_call(env_.clock, k_look_limit));
    // Silence says nothing of any of them, and holds up nobody.
    asked->answered = asked->seqs.size();
    if (!answer) co_return;
    asked->answered = std::min(asked->answered, static_cast<usize>(answer->looks_size()));
    for (usize i = 0; i < asked->answered; ++i) {
        const pb::ChunkLook& look = answer->looks(static_cast<int>(i));
        (*sights)[asked->seqs[i]][peer] =
            ChunkSight{look.positions(), look.damaged(), look.blocks(), look.segment()};
    }
}

Task<ChunkCare::Sights> ChunkCare::ask_all(Request request, std::map<CoreletId, Asked>* asked) {
    Sights out;
    Scope scope(env_.executor);
    for (auto& [id, of_peer] : *asked) scope.spawn(ask_sights(id, request, &of_peer, &out));
    co_await scope.join();
    co_return out;
}

Task<ChunkCare::Sights> ChunkCare::sights(Request request, std::map<CoreletId, std::vector<u64>> seqs) {
    std::map<CoreletId, Asked> asked;
    for (auto& [id, of_peer] : seqs) asked[id].seqs = std::move(of_peer);
    co_return co_await ask_all(request, &asked);
}

Task<Result<std::vector<ChunkFinding>>> ChunkCare::look(Request request, std::vector<u64> seqs) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(request.pool);
    if (!pool) co_return fail(Code::kUnavailable, "the pool is not in the map here");
    std::map<CoreletId, Asked> asked;
    for (u64 seq : seqs) {
        if (request.everywhere) {
            for (const mesh::Corelet& corelet : map->corelets)
                if (corelet.is_up() && mesh::may_store(corelet.role)) asked[corelet.id].seqs.push_back(seq);
        } else {
            for (CoreletId id : pool->holders(ChunkId{request.space, seq}))
                if (map->is_up(id)) asked[id].seqs.push_back(seq);
        }
    }
    Sights sights = co_await ask_all(request, &asked);
    // Who had no time for all of them has not been heard of the rest: they are looked at again.
    std::set<u64> unheard;
    for (auto const& [id, of_peer] : asked)
        unheard.insert(of_peer.seqs.begin() + static_cast<std::ptrdiff_t>(of_peer.answered), of_peer.seqs.end());
    std::vector<ChunkFinding> out;
    for (u64 seq : seqs) {
        if (unheard.contains(seq)) break;
        out.push_back(judge_chunk(*pool, ChunkId{request.space, seq}, sights[seq]));
    }
    if (out.empty() && !seqs.empty()) co_return fail(Code::kTimeout, "the corelets were too busy to look");
    co_return out;
}

Task<void> ChunkCare::ask_to_mend(CoreletId member, Request request, std::vector<Outcome*> wanted,
                                  const std::map<u64, u32>* blocks) {
    pb::MendChunks order;
    order.set_pool(request.pool.v);
    order.set_space(request.space.v);
    for (const Outcome* each : wanted) {
        order.add_seqs(each->seq);
        order.add_blocks(blocks->at(each->seq));
    }
    auto const answer = co_await ask_care<pb::MendChunksReply>(
        &rpc_, member, heal_method::k_mend, encode_message(order), care_call(env_.clock, k_order_limit));
    for (usize i = 0; i < wanted.size(); ++i) {
        if (!answer || static_cast<int>(i) >= answer->mended_size()) {
            wanted[i]->why = answer ? "it gave no answer" : answer.error().to_string();
            continue;
        }
        const auto& mended = answer->mended(static_cast<int>(i));
        wanted[i]->done = mended.outcome() != 0;
        wanted[i]->why = mended.why();
    }
}

Task<Result<std::vector<ChunkCare::Outcome>>> ChunkCare::mend(Request request, std::vector<ChunkFinding> findings) {
    std::vector<Outcome> out;
    std::map<u64, u32> blocks;
    for (const ChunkFinding& finding : findings) {
        blocks[finding.chunk.seq] = finding.blocks;
        for (const auto& place : finding.lacking) out.push_back({place, finding.chunk.seq, false, {}});
        for (const auto& place : finding.unseen)
            out.push_back({place, finding.chunk.seq, false,
                           place.corelet.is_zero() ? "too few corelets for the pool's width: nobody has this place"
                                                   : "the corelet of this place is down, or did not answer"});
    }
    Scope scope(env_.executor);
    for (auto& [member, of_member] : open_by_corelet(out))
        scope.spawn(ask_to_mend(member, request, std::move(of_member), &blocks));
    co_await scope.join();
    co_return out;
}

Task<void> ChunkCare::ask_to_hand_on(CoreletId holder, Request request, std::vector<Outcome*> wanted) {
    pb::HandOnFragments order;
    order.set_pool(request.pool.v);
    for (const Outcome* each : wanted) {
        pb::HeldFragment* const held = order.add_fragments();
        held->set_space(request.space.v);
        held->set_seq(each->seq);
        held->set_position(each->place.position);
    }
    Buffer const body = encode_message(order);
    // Twice: what its member did not have was brought to it, and goes when that one has read it.
    for (int round = 0; round < 2; ++round) {
        auto const answer = co_await ask_care<pb::HandOnFragmentsReply>(&rpc_, holder, heal_method::k_hand_on, body,
                                                                        care_call(env_.clock, k_order_limit));
        for (Outcome* each : wanted) {
            each->done = answer.has_value();
            each->why = answer ? "" : answer.error().to_string();
        }
        if (!answer || answer->kept_size() == 0) co_return;
        for (u32 index : answer->kept())
            if (index < wanted.size()) {
                wanted[index]->done = false;
                wanted[index]->why =
                    "the member of its place has not confirmed its own copy, or the log still lists it";
            }
    }
}

Task<Result<std::vector<ChunkCare::Outcome>>> ChunkCare::bring_home(Request request,
                                                                    std::vector<ChunkFinding> findings) {
    // First to where they belong. What is not made there stays where it is.
    auto const made = co_await mend(request, findings);
    if (!made) co_return std::unexpected(made.error());
    std::vector<Outcome> out;
    for (const ChunkFinding& finding : findings)
        for (const auto& place : finding.strays) out.push_back({place, finding.chunk.seq, false, {}});
    Scope scope(env_.executor);
    for (auto& [holder, of_holder] : open_by_corelet(out))
        scope.spawn(ask_to_hand_on(holder, request, std::move(of_holder)));
    co_await scope.join();
    co_return out;
}

}  // namespace corelet
