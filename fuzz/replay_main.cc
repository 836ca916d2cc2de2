// Stands in for libFuzzer in ordinary builds: runs the target once for each file of the corpus it is given, each
// prefix of it (a truncated input is the commonest bad one), and the empty input.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

constexpr std::size_t k_prefixes_max = 256;

std::vector<fs::path> files_of(const fs::path& root) {
    std::vector<fs::path> out;
    if (fs::is_regular_file(root)) out.push_back(root);
    if (fs::is_directory(root)) {
        for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root)) {
            if (entry.is_regular_file()) out.push_back(entry.path());
        }
    }
    std::sort(out.begin(), out.end());
    return out;
}

// A copy of exactly the size given, so that a sanitizer sees each read beyond it.
void run(const std::vector<std::uint8_t>& input, std::size_t size) {
    std::vector<std::uint8_t> const exact(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(size));
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

void replay(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::vector<std::uint8_t> const input{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    for (std::size_t size = 0; size < std::min(input.size(), k_prefixes_max); ++size) run(input, size);
    run(input, input.size());
}

}  // namespace

int main(int argc, char** argv) {
    std::size_t files = 0;
    run({}, 0);
    for (int i = 1; i < argc; ++i) {
        for (const fs::path& path : files_of(argv[i])) {
            replay(path);
            ++files;
        }
    }
    std::printf("replayed %zu files\n", files);
    if (files == 0) std::fprintf(stderr, "no corpus found: each fuzz target keeps one in fuzz/corpus/NAME\n");
    return files == 0 ? 1 : 0;
}
