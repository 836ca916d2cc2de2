// What makes a corelet: read from its directory by the app, made up by tests and the simulator.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/time.h"
#include "mesh/location.h"
#include "mesh/map.h"
#include "rt/network.h"
#include "stream/stream_owner.h"
#include "wire/hello.h"

namespace corelet {

struct NodeConfig {
    MeshId mesh;
    std::string device_path;  // formatted for this mesh; never empty in this version
    mesh::Location location;
    mesh::Role role = mesh::Role::kStorage;  // of a newcomer; then the map says
    std::string device_class;                // the same
    std::vector<Address> listen;             // where peers reach it
    std::vector<Address> seeds;              // whom to ask on the first start
    // Where the catalog stands: `etcd:HOST:PORT[,HOST:PORT...]`; empty: among the corelets of the mesh.
    std::string catalog;
    std::string export_directory;  // default NBD sockets: <directory>/<volume>.nbd
    bool bootstrap = false;        // first start of a new mesh: the only voter, the first map
    bool insecure = false;         // may listen beyond this host without TLS
    std::optional<u32> own_uid;
    // The mesh's secret: who presents it may give commands over TCP (empty: nobody may), and gossip is
    // authenticated by a key that is made from it.
    std::string admin_key;
    Duration out_after = 600_s;
    Duration session_ttl = 4_s;
    Duration session_renewal = 1300_ms;
    StreamTimes stream_times;
    Duration heal_round =
        5_s;  // how often a slot's members compare what they hold, when nothing calls for it sooner
    Duration scrub_pass =
        Duration{7LL * 24 * 3600 * 1'000'000'000};  // all that is held is read again within so long
    Duration audit_every = 60_s;                    // somebody is challenged, on average
    u64 segment_target_bytes = 64 * k_mib;
    u64 stream_bytes_max = 64 * k_mib;  // taken in from a volume's writers and not acknowledged yet; the rest waits
    u64 cache_bytes = 256 * k_mib;      // of blocks, for each volume owned
    u64 page_cache_bytes = 64 * k_mib;
    u64 direct_write_bytes = 256 * k_kib;  // of one write that may go straight to a chunk; 0: none does
    u64 direct_chunk_bytes = 0;            // the least of such a chunk; 0: a quarter of the pool's chunks
    u16 wire_version = k_wire_version;  // the highest that it speaks; a test may have it speak one of a later build
    std::string version = "0.1.0";
    std::string io_engine;                     // what the world does I/O with, for status; empty: not said
    std::function<std::string()> disk_faults;  // what a test injects into the disk, for status; empty: nothing
};

}  // namespace corelet
