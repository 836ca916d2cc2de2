// Memory that a device's index of so many fragments takes. bench_index_memory TOTAL_BYTES FRAGMENT_BYTES; prints
// bytes of resident memory.
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "device/fragment_index.h"

namespace {

corelet::u64 resident_bytes() {
    std::ifstream in("/proc/self/statm");
    corelet::u64 total = 0, resident = 0;
    in >> total >> resident;
    return resident * 4096;
}

}  // namespace

int main(int argc, char** argv) {
    using namespace corelet;
    if (argc != 3) {
        std::fprintf(stderr, "usage: bench_index_memory TOTAL_BYTES FRAGMENT_BYTES\n");
        return 2;
    }
    u64 const total = std::strtoull(argv[1], nullptr, 10);
    u64 const each = std::strtoull(argv[2], nullptr, 10);
    u64 const before = resident_bytes();
    FragmentIndex index;
    u64 const count = total / each;
    for (u64 i = 0; i < count; ++i) {
        FragmentEntry entry;
        entry.space = 1 + i % 8;
        entry.seq = make_seq(Epoch(1 + i % 64), 1 + i);
        entry.position = static_cast<u8>(i % 6);
        entry.k = 4;
        entry.m = 2;
        entry.blocks = static_cast<u32>(each / k_block_bytes);
        // One in a hundred lies in several extents.
        std::vector<UnitExtent> extents(i % 100 == 0 ? 3 : 1);
        for (UnitExtent& extent : extents) extent = {static_cast<u32>(i * 8), 8};
        entry.first_unit = extents.front().start;
        index.insert(entry, extents);
    }
    std::printf("{\"fragments\": %llu, \"resident_bytes\": %llu}\n", static_cast<unsigned long long>(index.size()),
                static_cast<unsigned long long>(resident_bytes() - before));
    return 0;
}
