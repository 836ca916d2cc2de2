// For tests: a simulated mesh with a volume that is served, and blocks whose contents are known by their number.
#pragma once

#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/mesh/sim_mesh.h"

namespace corelet::testing_mesh {

inline Buffer pattern(u64 seed, usize bytes) {
    Prng rng(seed);
    Buffer out = Buffer::allocate(bytes);
    for (usize i = 0; i < bytes; i += 8) {
        u64 const value = rng.next();
        std::memcpy(out.mutable_data() + i, &value, 8);
    }
    return out;
}

inline std::string why(sim::World& world) {
    std::string out = world.failure();
    for (const std::string& line : world.recent_log()) out += "\n" + line;
    return out;
}

// Writes `count` blocks of 64 KiB and remembers nothing: the pattern of block i is known.
inline bool fill(SimMesh& mesh, const std::string& volume, u64 first, u64 count) {
    for (u64 i = first; i < first + count; ++i) {
        bool done = false;
        for (int attempt = 0; attempt < 50 && !done; ++attempt) {
            auto const server = mesh.server_of(volume);
            if (!server) {
                mesh.world().run_for(500_ms);
                continue;
            }
            auto const written = mesh.world().run(
                mesh.machine(*server), mesh.device(volume)->write(i * 65536, BufferChain(pattern(i, 65536)), false),
                20_s);
            done = written && *written;
        }
        if (!done) return false;
    }
    return true;
}

inline bool check(SimMesh& mesh, const std::string& volume, u64 first, u64 count) {
    for (u64 i = first; i < first + count; ++i) {
        auto const server = mesh.server_of(volume);
        if (!server) return false;
        auto const read =
            mesh.world().run(mesh.machine(*server), mesh.device(volume)->read(i * 65536, 65536), 20_s);
        if (!read || !*read || !std::ranges::equal((*read)->flatten().bytes(), pattern(i, 65536).bytes()))
            return false;
    }
    return true;
}

// What a command answers; null, and the test has failed, if it does not.
inline Json answer_to(SimMesh& mesh, const std::string& command, const std::string& arguments = "{}") {
    std::string error;
    auto const answer = mesh.command(command, arguments, &error);
    EXPECT_TRUE(answer) << command << ": " << error;
    return answer ? Json::parse(*answer) : Json();
}

// Boots all, makes the pool "p", of which `pool` says what `pool.create` takes, and in it the volume "v" of 64 MiB,
// and attaches that. If it comes to nothing: why, in `error`, unless the mesh has not come up.
[[nodiscard]] inline bool make_ready(SimMesh& mesh, Json pool, std::string* error) {
    pool["name"] = "p";
    return mesh.up() && mesh.command("pool.create", pool.dump(), error) &&
           mesh.command("volume.create", R"({"name":"v","pool":"p","size_bytes":67108864})", error) &&
           mesh.command("volume.attach", R"({"name":"v"})", error);
}

struct Ready {
    sim::World world;
    SimMesh mesh;
    Ready(u64 seed, SimMeshOptions options, const std::string& redundancy) : world(seed), mesh(world, options) {
        std::string error;
        EXPECT_TRUE(make_ready(mesh, Json{{"redundancy", redundancy}}, &error)) << error << why(world);
    }
};

inline SimMeshOptions six() {
    SimMeshOptions options;
    options.corelets = 6;
    return options;
}

}  // namespace corelet::testing_mesh
