// A handful of corelets that keep fragments, in the simulated world: stores, RPC nodes, fragment servers, readers,
// and maps made by hand, which may differ from corelet to corelet. Header only, for the tests of this folder and of
// heal.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/checksum.h"
#include "chunk/fragment_server.h"
#include "chunk/mesh_chunks.h"
#include "mesh/mesh_testing.h"
#include "sim/world.h"

namespace corelet::testing {

inline constexpr PoolId k_pool{1};

[[nodiscard]] inline bool same_bytes(const Buffer& a, const Buffer& b) {
    return a.size() == b.size() && std::equal(a.bytes().begin(), a.bytes().end(), b.bytes().begin());
}

class HandMap final : public mesh::MapSource {
  public:
    [[nodiscard]] std::shared_ptr<const mesh::Map> current() const override { return map; }
    void heard_of(MapEpoch epoch, CoreletId /*from*/) override { heard = std::max(heard, epoch); }
    std::shared_ptr<const mesh::Map> map = std::make_shared<mesh::Map>();
    MapEpoch heard;
};

class HandPolicy final : public HelloPolicy {
  public:
    explicit HandPolicy(CoreletId id) {
        hello_.corelet = id;
        hello_.role = PeerRole::kCorelet;
    }
    [[nodiscard]] Hello local_hello() override { return hello_; }
    [[nodiscard]] Result<void> judge(const Hello&, const PeerContext&) override { return {}; }

  private:
    Hello hello_;
};

// Says yes to one epoch.
class HandAuthority final : public DeleteAuthority {
  public:
    [[nodiscard]] Task<Result<void>> may_delete(SpaceId, Epoch epoch, CoreletId asker, PoolId) override {
        if (epoch != allowed || asker != owner) co_return fail(Code::kFenced, "not by this owner");
        co_return {};
    }
    Epoch allowed{1};
    CoreletId owner{1};
};

// One of them, while it runs.
struct Holder {
    Holder(Env& the_env, CoreletId id) : env(the_env), policy(id) {}
    Env& env;
    HandPolicy policy;
    HandMap maps;
    HandAuthority authority;
    std::unique_ptr<Store> store;
    std::unique_ptr<RpcNode> rpc;
    std::unique_ptr<FragmentServer> fragments;
    std::unique_ptr<MeshChunks> chunks;
    std::shared_ptr<void> extra;  // what a test puts on top; goes first
    ~Holder() { extra.reset(); }
};

class ChunkWorld {
  public:
    using Extra = std::function<std::shared_ptr<void>(Holder&)>;
    // Corelets with the ids 1..n, in a map of that many with one pool.
    ChunkWorld(u64 seed, usize corelets, std::string_view redundancy, Extra extra = {},
               MeshChunks::Options options = {}, const mesh::PoolSpec& quorums = {})
        : world_(seed, quiet()), extra_(std::move(extra)), options_(options), members_(corelets) {
        mesh::PoolSpec spec = quorums;
        spec.name = "main";
        spec.redundancy = mesh::Redundancy::parse(redundancy).value();
        spec.level = mesh::Level::kCorelet;
        mesh::Map const map = mesh::testing::after(mesh::testing::make_map(corelets), mesh::PoolCreated{spec});
        map_ = std::make_shared<const mesh::Map>(map);
        for (usize i = 0; i < corelets; ++i) {
            members_[i].machine = &world_.add_node(name(i));
            members_[i].map = map_;
        }
        for (usize i = 0; i < corelets; ++i) start(i);
        EXPECT_TRUE(world_.run_until(
            [&] { return std::all_of(members_.begin(), members_.end(), [](const Member& m) { return m.holder; }); },
            60_s));
    }
    ~ChunkWorld() {
        for (Member& member : members_) member.machine->crash();
    }

    [[nodiscard]] sim::World& world() { return world_; }
    [[nodiscard]] Holder& at(usize index) { return *members_[index].holder; }
    [[nodiscard]] Holder& at(CoreletId id) { return at(static_cast<usize>(id.v - 1)); }
    [[nodiscard]] sim::Node& machine(usize index) { return *members_[index].machine; }
    [[nodiscard]] static CoreletId id(usize index) { return CoreletId(index + 1); }
    [[nodiscard]] const mesh::Map& map() const { return *map_; }
    [[nodiscard]] const mesh::Pool& pool() const { return *map_->find(k_pool); }
    [[nodiscard]] u32 slot(ChunkId chunk) const { return pool().slot(chunk); }
    [[nodiscard]] CoreletId home(ChunkId chunk, u8 position) const {
        return pool().current().at(slot(chunk), position);
    }

    // For everybody, or for one.
    void set_map(mesh::Map map) {
        map_ = std::make_shared<const mesh::Map>(std::move(map));
        for (usize i = 0; i < members_.size(); ++i) show_map(i, map_);
    }
    void change(const mesh::MapEvent& event) { set_map(mesh::testing::after(*map_, event)); }
    void show_map(usize index, std::shared_ptr<const mesh::Map> map) {
        members_[index].map = map;
        if (Holder* const holder = members_[index].holder) {
            holder->maps.map = map;
            holder->rpc->set_map_epoch(map->epoch);
        }
    }
    [[nodiscard]] std::shared_ptr<const mesh::Map> map_of(usize index) const { return members_[index].map; }
    // A map in which row `slot` of the pool reads otherwise; it is the next epoch, and the former table is kept.
    [[nodiscard]] mesh::Map with_row(u32 slot, const std::vector<CoreletId>& row) const {
        mesh::Map next = *map_;
        next.epoch = next.epoch.next();
        mesh::Pool& pool = next.pools.front();
        std::vector<CoreletId> cells;
        for (u32 s = 0; s < pool.current().slots(); ++s) {
            auto const each = s == slot ? row : pool.current().row(s);
            cells.insert(cells.end(), each.begin(), each.end());
        }
        pool.tables.insert(
            pool.tables.begin(),
            mesh::SlotTable::make(next.epoch, pool.current().slots(), pool.current().width(), cells).value());
        return next;
    }

    void start(usize index) {
        members_[index].machine->start([this, index](Env& env) { return life(&env, this, index); });
    }
    void crash(usize index) { members_[index].machine->crash(); }

    template <class T>
    [[nodiscard]] T run(usize index, Task<T> task, Duration bound = 60_s) {
        auto result = world_.run(*members_[index].machine, std::move(task), bound);
        CORELET_ASSERT(result.has_value(), "a task of the test did not end");
        return *std::move(result);
    }
    bool until(const std::function<bool()>& predicate, Duration bound) {
        return world_.run_until(predicate, bound);
    }
    void pass(Duration time) { EXPECT_TRUE(world_.run_for(time)) << world_.failure(); }

    [[nodiscard]] static Buffer bytes(u64 seed, u64 blocks) {
        Prng draws(seed);
        Buffer out = Buffer::allocate(blocks * k_block_bytes);
        for (usize i = 0; i + 8 <= out.size(); i += 8) {
            u64 const word = draws.next();
            std::memcpy(out.mutable_data() + i, &word, 8);
        }
        return out;
    }
    [[nodiscard]] Result<ChunkPutResult> put(usize writer, ChunkId chunk, Buffer data) {
        auto crcs = block_crcs(BufferChain(data));
        return run(writer, at(writer).chunks->put(k_pool, chunk, BufferChain(std::move(data)), std::move(crcs),
                                                  ChunkPutOptions{}));
    }
    [[nodiscard]] Result<Buffer> get(usize reader, ChunkId chunk, const Buffer& whole, u64 offset, u64 length,
                                     bool with_crcs = true) {
        std::vector<u32> crcs;
        if (with_crcs) crcs = block_crcs(BufferChain(whole).slice(offset, length));
        auto got = run(reader, at(reader).chunks->get(k_pool, chunk, whole.size(), offset, length, std::move(crcs),
                                                      TrafficClass::kClient));
        if (!got) return std::unexpected(got.error());
        return got->flatten();
    }
    [[nodiscard]] bool holds(usize index, ChunkId chunk, u8 position) {
        return at(index).store->fragment_info(FragmentId{chunk, position}).has_value();
    }
    // Flips a bit in the block of the device that holds these bytes; false: no block does.
    [[nodiscard]] bool rot(usize index, Bytes block) {
        sim::MediaFile* const device = members_[index].machine->media().find("/device");
        bool found = false;
        for (u64 page = 0; device && page < device->pages(); ++page) {
            Buffer const here = device->read_durable(page * k_block_bytes, k_block_bytes);
            if (!std::equal(block.begin(), block.end(), here.bytes().begin())) continue;
            device->flip_bit(page * k_block_bytes + 100, 3);
            found = true;
        }
        return found;
    }
    void rot_fragment(usize index, FragmentId id, u64 block = 0) {
        auto const data = run(index, at(index).store->read_fragment(id, block * k_block_bytes, k_block_bytes, {}));
        ASSERT_TRUE(data.has_value()) << data.error().to_string();
        ASSERT_TRUE(rot(index, data->data.flatten().bytes()));
    }
    // Puts a fragment at a corelet by no table.
    void plant(usize index, FragmentId id, mesh::Redundancy redundancy, u64 chunk_bytes, Buffer data) {
        FragmentHeader header;
        header.k = redundancy.k;
        header.m = redundancy.m;
        header.chunk_data_bytes = chunk_bytes;
        header.map_epoch = MapEpoch(1);
        auto crcs = block_crcs(BufferChain(data));
        auto const planted = run(
            index, at(index).store->put_fragment(id, header, BufferChain(std::move(data)), std::move(crcs), {}));
        ASSERT_TRUE(planted.has_value()) << planted.error().to_string();
    }
    // Moves a fragment from one corelet to another behind everybody's back.
    void smuggle(usize from, usize to, FragmentId id) {
        auto const info = at(from).store->fragment_info(id);
        ASSERT_TRUE(info.has_value());
        auto const header = run(from, at(from).store->read_fragment_header(id, IoClass::kClient));
        auto const data = run(from, at(from).store->read_fragment(id, 0, info->bytes, {}));
        ASSERT_TRUE(header && data);
        plant(to, id, mesh::Redundancy{header->k, header->m}, header->chunk_data_bytes, data->data.flatten());
        ASSERT_TRUE(run(from, at(from).store->remove_fragment(id)).has_value());
    }

  private:
    struct Member {
        sim::Node* machine = nullptr;
        Holder* holder = nullptr;
        std::shared_ptr<const mesh::Map> map;
    };
    [[nodiscard]] static std::string name(usize index) { return "n" + std::to_string(index + 1); }
    [[nodiscard]] static sim::WorldOptions quiet() {
        sim::WorldOptions options;
        options.network.tail_per_million = 0;
        options.disk.tail_per_million = 0;
        return options;
    }
    static Task<void> life(Env* env, ChunkWorld* world, usize index) {
        OpenOptions open;
        auto const there = co_await env->disk.exists("/device");
        bool const fresh = !there || !*there;
        if (fresh) {
            open.create = true;
            open.size_bytes = 256 * k_mib;
        }
        auto file = co_await env->disk.open("/device", open);
        CORELET_ASSERT(file.has_value());
        if (fresh) {
            FormatOptions format;
            format.mesh = MeshId(0xC0DE);
            format.identity = id(index);
            auto const formatted = co_await format_device(file->get(), StoreEnv::of(*env), format);
            CORELET_ASSERT(formatted.has_value());
        }
        auto store = co_await Store::mount(*std::move(file), StoreEnv::of(*env), {});
        CORELET_ASSERT(store.has_value());
        Member& member = world->members_[index];
        Holder holder(*env, id(index));
        holder.store = *std::move(store);
        holder.maps.map = member.map;
        holder.rpc = std::make_unique<RpcNode>(*env, holder.policy, RpcOptions{.insecure = true});
        for (usize other = 0; other < world->members_.size(); ++other)
            if (other != index) holder.rpc->set_addresses(id(other), {Address::tcp(name(other), 7000)});
        holder.rpc->set_map_epoch(member.map->epoch);
        CORELET_ASSERT(holder.rpc->listen(Address::tcp(name(index), 7000)).has_value());
        holder.fragments =
            std::make_unique<FragmentServer>(*holder.store, *holder.rpc, holder.maps, &holder.authority);
        holder.chunks = std::make_unique<MeshChunks>(*env, *holder.rpc, holder.maps, world->options_);
        if (world->extra_) holder.extra = world->extra_(holder);
        struct Presence {
            Member& member;
            ~Presence() { member.holder = nullptr; }
        } const presence{member};
        member.holder = &holder;
        Event never;
        co_await never.wait();
    }

    sim::World world_;
    Extra extra_;
    MeshChunks::Options options_;
    std::shared_ptr<const mesh::Map> map_;
    std::vector<Member> members_;
};

}  // namespace corelet::testing
