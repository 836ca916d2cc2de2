#include "mesh/fits.h"

#include <algorithm>
#include <map>

#include "mesh/strategy.h"

namespace corelet::mesh {
namespace {

// Corelets that could hold the pool's fragments, by domain of a level.
std::map<std::string, u32> domains_of(const Map& map, const PoolSpec& spec, Level level) {
    std::map<std::string, u32> out;
    for (const Corelet& corelet : map.corelets) {
        if (!corelet.in_service() || corelet.weight == 0 || !corelet.suits(spec)) continue;
        ++out[level == Level::kCorelet ? to_string(corelet.id) : corelet.location.domain(level)];
    }
    return out;
}

std::string plural(Level level, usize count) {
    std::string const name = level_name(level);
    return std::to_string(count) + " " + name + (count == 1 || level == Level::kChassis ? "" : "s");
}

Result<> check_width(const PoolSpec& spec, usize usable) {
    unsigned const width = spec.redundancy.width();
    if (usable >= width) return {};
    std::string const of_class = spec.device_class.empty() ? "" : " on devices of class " + spec.device_class;
    std::string message = spec.redundancy.to_string() + " needs " + std::to_string(width) + " corelets that store" +
                          of_class + ", this mesh has " + std::to_string(usable) + ".";
    if (usable == 0) return fail(Code::kInvalid, message + " Add corelets first.");
    std::string fitting = Redundancy{1, static_cast<u8>(std::min<usize>(usable, 3) - 1)}.to_string();
    unsigned const promise = usable > 4 ? 2 : 1;
    if (usable > 2) {
        Redundancy const coded{static_cast<u8>(std::min<usize>(usable - promise, 16)), static_cast<u8>(promise)};
        fitting += " or " + coded.to_string();
    }
    return fail(Code::kInvalid,
                message + " Use " + fitting + ", or add " + std::to_string(width - usable) + " more.");
}

// With `most` fragments in one domain: as many parity fragments, or domains enough for those there are.
std::string what_would_do(const PoolSpec& spec, Level level, usize domains, unsigned most) {
    unsigned const width = spec.redundancy.width();
    std::vector<std::string> ways;
    Redundancy const safer{static_cast<u8>(width - std::min(width - 1, most)), static_cast<u8>(most)};
    if (safer.valid() && safer.width() == width)
        ways.push_back(safer.to_string() + " over " + plural(level, domains));
    if (unsigned const m = spec.redundancy.m; m > 0)
        ways.push_back(spec.redundancy.to_string() + " over " + plural(level, div_ceil(width, m)));
    std::string out;
    for (const std::string& way : ways) out += (out.empty() ? " Use " : ", or ") + way;
    return out.empty() ? " Choose a redundancy with parity." : out + ".";
}

Result<> check_survival(const PoolSpec& spec, Level level, const std::map<std::string, u32>& domains) {
    std::vector<u32> sizes;
    for (auto const& [name, size] : domains) sizes.push_back(size);
    unsigned const width = spec.redundancy.width();
    unsigned const named = spec.caps[static_cast<usize>(level)];
    unsigned const most = std::min(width, domain_cap(sizes, width, named != 0 ? named : 1));
    if (most <= spec.redundancy.m) return {};
    return fail(Code::kInvalid, spec.redundancy.to_string() + " over " + plural(level, domains.size()) + " puts " +
                                    std::to_string(most) + " fragments of a chunk in one " + level_name(level) +
                                    "; without it " + std::to_string(width - most) + " are left, and " +
                                    std::to_string(spec.redundancy.k) + " are needed." +
                                    what_would_do(spec, level, domains.size(), most));
}

}  // namespace

Result<> check_fits(const Map& map, const PoolSpec& spec, std::optional<Level> survive) {
    TRY_VOID(check_width(spec, domains_of(map, spec, Level::kCorelet).size()));
    if (!survive) return {};
    return check_survival(spec, *survive, domains_of(map, spec, *survive));
}

}  // namespace corelet::mesh
