#include "node/export_place.h"

#include <gmock/gmock.h>

namespace corelet {
namespace {

using testing::ElementsAre;

const ExportHost k_one_host{"/m", "", false};
const ExportHost k_of_many{"/m", "10.0.0.2", true};

std::vector<std::string> tried(const ExportWish& wish, const ExportHost& host) {
    std::vector<std::string> out;
    auto const candidates = export_candidates(wish, host);
    if (!candidates) return {candidates.error().to_string()};
    for (const Address& address : *candidates) out.push_back(address.to_string());
    return out;
}

TEST(ExportPlace, DefaultIsASocketOfTheVolumesName) {
    EXPECT_THAT(tried({.volume = "v"}, k_one_host), ElementsAre("unix:/m/v.nbd"));
}

// Another corelet of the machine, with a directory of its own: clients look where it was.
TEST(ExportPlace, SocketIsTakenOverWhereItWas) {
    EXPECT_THAT(tried({.volume = "v", .last_uri = "nbd+unix:///v?socket=/c1/v.nbd"}, k_one_host),
                ElementsAre("unix:/c1/v.nbd", "unix:/m/v.nbd"));
    EXPECT_THAT(
        tried({.volume = "v", .listen = "unix:/x/s", .last_uri = "nbd+unix:///v?socket=/x/s", .strict = true},
              k_one_host),
        ElementsAre("unix:/x/s", "unix:/m/v.nbd"));
}

TEST(ExportPlace, NamedAddressIsTakenOrRefusedAtFirst) {
    EXPECT_THAT(tried({.volume = "v", .listen = "unix:/x/s", .strict = true}, k_one_host),
                ElementsAre("unix:/x/s"));
    EXPECT_THAT(tried({.volume = "v", .listen = "127.0.0.1:10809", .strict = true}, k_one_host),
                ElementsAre("tcp:127.0.0.1:10809"));
}

TEST(ExportPlace, PortIsKeptElseItMoves) {
    EXPECT_THAT(
        tried({.volume = "v", .listen = "127.0.0.1:10809", .last_uri = "nbd://127.0.0.1:10809/v", .strict = true},
              k_one_host),
        ElementsAre("tcp:127.0.0.1:10809", "tcp:127.0.0.1:0"));
    EXPECT_THAT(tried({.volume = "v", .listen = "127.0.0.1:0", .last_uri = "nbd://127.0.0.1:40001/v"}, k_one_host),
                ElementsAre("tcp:127.0.0.1:40001", "tcp:127.0.0.1:0"));
    EXPECT_THAT(tried({.volume = "v", .listen = "10.0.0.1:10809", .last_uri = "nbd://10.0.0.1:10809/v"}, k_of_many),
                ElementsAre("tcp:10.0.0.1:10809", "tcp:10.0.0.1:0", "tcp:10.0.0.2:10809", "tcp:10.0.0.2:0"));
}

TEST(ExportPlace, OtherHostsAreRefusedUnlessInsecure) {
    for (const char* listen : {"0.0.0.0:10809", "10.0.0.1:10809", "[::]:1"})
        EXPECT_EQ(export_candidates({.volume = "v", .listen = listen}, k_one_host).error().code, Code::kDenied)
            << listen;
    for (const char* listen : {"127.0.0.1:1", "localhost:1", "[::1]:1"})
        EXPECT_TRUE(export_candidates({.volume = "v", .listen = listen}, k_one_host));
    EXPECT_EQ(export_candidates({.volume = "v", .listen = "nonsense"}, k_one_host).error().code, Code::kInvalid);
}

TEST(ExportPlace, UrisNameTheAddressAndComeBack) {
    EXPECT_EQ(export_uri(Address::unix_path("/m/v.nbd"), "v", k_one_host), "nbd+unix:///v?socket=/m/v.nbd");
    EXPECT_EQ(export_uri(Address::tcp("127.0.0.1", 10809), "v", k_one_host), "nbd://127.0.0.1:10809/v");
    EXPECT_EQ(export_uri(Address::tcp("::1", 10809), "v", k_one_host), "nbd://[::1]:10809/v");
    EXPECT_EQ(export_uri(Address::tcp("0.0.0.0", 10809), "v", k_of_many), "nbd://10.0.0.2:10809/v");
    EXPECT_EQ(export_uri(Address::unix_path("/a b&c?d%e/s"), "v", k_one_host),
              "nbd+unix:///v?socket=/a%20b%26c%3Fd%25e/s");
    for (const Address& address : {Address::unix_path("/m/v.nbd"), Address::unix_path("/a b&c?d%e/s"),
                                   Address::tcp("127.0.0.1", 1), Address::tcp("::1", 2)})
        EXPECT_EQ(address_in_uri(export_uri(address, "v", k_one_host)), address);
    for (const char* uri : {"", "nbd://", "nbd+unix:///v", "http://127.0.0.1:1/v", "nbd://unix:1:/v"})
        EXPECT_EQ(address_in_uri(uri), std::nullopt) << uri;
}

}  // namespace
}  // namespace corelet
