// Whose device this is: incarnations, and the end of an identity whose promises are void.
#include "device/store_core.h"

namespace corelet {

Task<Result<void>> StoreCore::update_superblock(std::function<void(Superblock&)> change) {
    Permit const lock = co_await superblock_mutex_.lock();
    if (io_.is_failing()) co_return std::unexpected(io_.failing_error());
    Superblock next = super_;
    change(next);
    co_return co_await write_superblocks(std::move(next));
}

Task<Result<void>> StoreCore::mark_forgotten(std::string reason) {
    if (has_forgotten()) co_return Result<void>{};
    // It binds from here on, whether or not the device still takes the mark.
    super_.forgotten = true;
    super_.forgotten_reason = reason.substr(0, k_reason_bytes_max);
    refresh_label();
    co_return co_await update_superblock([](Superblock&) {});
}

// Each step leaves a device that still says it has forgotten, until the last one.
Task<Result<void>> StoreCore::take_identity(CoreletId fresh) {
    if (!has_forgotten()) co_return fail(Code::kInvalid, "nothing was forgotten: the identity stays");
    if (fresh.is_zero() || fresh == super_.identity) co_return fail(Code::kInvalid, "a new identity is needed");
    co_await operations_.join();
    while (!metadata_journal_->is_idle() && !io_.is_failing()) co_await metadata_journal_->progress().wait();
    u64 const nonce = env_.random.next();
    CO_TRY_VOID(co_await update_superblock([fresh, nonce](Superblock& super) {
        super.identity = fresh;
        super.incarnation = Incarnation(1);
        super.boot_nonce = nonce;
    }));
    meta_.forget_all_but_fragments();
    runtimes_.clear();
    reserved_units_ = 0;
    u64 const frontier = space_->frontier();
    CO_TRY(std::string const wrong, check_space());
    CORELET_ASSERT(wrong.empty(), "fragments were checked at the mount");
    space_->raise_frontier(frontier);
    CO_TRY_VOID(co_await metadata_journal_->restart(meta_.encode()));
    CO_TRY_VOID(co_await consensus_journal_->core().restart({}));
    CO_TRY_VOID(co_await update_superblock([](Superblock& super) {
        super.forgotten = false;
        super.forgotten_reason.clear();
    }));
    CO_TRY_VOID(co_await commit(records::mount(super_.incarnation, super_.boot_nonce)));
    background_.spawn(zero_ahead_loop());
    co_return Result<void>{};
}

}  // namespace corelet
