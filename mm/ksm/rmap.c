// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: from a KSM page to its stable node and its mappings, for the rest of mm.
 *
 * Unrelated mm's map a KSM page, so folio->mapping cannot point to one anon_vma. It
 * points to the stable node, which lists an rmap_item for each mapping that ksmd
 * knows. An rmap_item has an anon_vma and an index in it. A fork, or a split of the
 * VMA, copies the page table entry to a VMA with the same anon_vma and index, so the
 * rmap walk finds the copy, too. That is why an rmap_item may have to stay, as an
 * orphan, after its own mapping is gone: see ksm_item_needed().
 */

#include <kunit/static_stub.h>
#include <linux/memcontrol.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/vmstat.h>

#include "../internal.h"
#include "ksm.h"
#include "rmap.h"

/* Limits how long ksmd, or a fault, searches if many forked processes map a page. */
#define KSM_MAX_ANCHORS	1024
/* Passing this many rmap_items takes about as long as looking at a VMA. */
#define KSM_ANCHORS_PER_VMA	16

static void *node_mapping(struct ksm_stable_node *node)
{
	return (void *)((unsigned long)node | PAGE_MAPPING_KSM);
}

/**
 * ksm_folio_set_node() - make a folio a KSM page, or clear its node
 * @folio: small anonymous folio, whose page is not PageAnonExclusive; locked
 * @node: stable node, which must outlive the mapping; NULL for a KSM page that
 *	is not mapped any more, or that has been migrated away
 */
void ksm_folio_set_node(struct folio *folio, struct ksm_stable_node *node)
{
	VM_WARN_ON_FOLIO(!folio_test_locked(folio), folio);
	VM_WARN_ON_FOLIO(folio_test_anon(folio) &&
			 PageAnonExclusive(&folio->page), folio);
	WRITE_ONCE(folio->mapping, node_mapping(node));
}

/**
 * ksm_folio_node() - find the stable node of a folio
 * @folio: any folio, referenced by the caller; domain->lock or the folio lock is
 *	held, either of which keeps the node
 *
 * Return: the node; NULL if it is not a KSM page or has lost its node.
 */
struct ksm_stable_node *ksm_folio_node(struct folio *folio)
{
	unsigned long mapping = (unsigned long)READ_ONCE(folio->mapping);

	if ((mapping & PAGE_MAPPING_FLAGS) != PAGE_MAPPING_KSM)
		return NULL;
	return (void *)(mapping & ~PAGE_MAPPING_FLAGS);
}

/*
 * Take a reference to a folio if it is still the node's. The node holds none, so the
 * page may have been freed and reused; then its mapping is not this node. If the page
 * is in the swap cache with its count frozen at zero, migration is moving it, and will
 * unfreeze the count.
 */
static bool node_folio_try_get(struct ksm_stable_node *node,
			       struct folio *folio)
{
	void *mapping = node_mapping(node);

	while (READ_ONCE(folio->mapping) == mapping) {
		if (folio_try_get(folio)) {
			if (READ_ONCE(folio->mapping) == mapping)
				return true;
			folio_put(folio);
			return false;
		}
		/* It was in the swap cache when its count was seen to be zero. */
		smp_rmb();
		if (!folio_test_swapcache(folio))
			return false;
		cpu_relax();
	}
	return false;
}

/* The page may be freed while this waits for the lock, so check the mapping again. */
static int node_folio_lock(struct ksm_stable_node *node, struct folio *folio,
			   enum ksm_folio_lock lock)
{
	if (lock == KSM_FOLIO_NOLOCK)
		return 0;
	if (lock == KSM_FOLIO_LOCK)
		folio_lock(folio);
	else if (!folio_trylock(folio))
		return -EBUSY;
	if (READ_ONCE(folio->mapping) == node_mapping(node))
		return 0;
	folio_unlock(folio);
	return -EAGAIN;
}

/**
 * ksm_node_folio() - get the KSM page of a stable node, if it still exists
 * @node: stable node; domain->lock is held
 * @lock: how to take the folio lock
 *
 * Migration sets the new page's mapping, then kpfn, then counts the move, then clears the
 * old page's mapping (folio_migrate_ksm()). So if the page at kpfn is not the node's, the
 * page is gone only if it has not moved meanwhile. An unchanged kpfn does not prove this:
 * the page may have moved away and back. See Documentation/mm/ksm-model.
 *
 * Return: the folio with a reference for the caller, and locked if asked for;
 * NULL if the page is gone: the caller can only ksm_index_del_node() the node;
 * ERR_PTR(-EBUSY) if KSM_FOLIO_TRYLOCK did not get the lock.
 */
struct folio *ksm_node_folio(struct ksm_stable_node *node,
			     enum ksm_folio_lock lock)
{
	struct folio *folio;
	u16 moves;
	int err;

	KUNIT_STATIC_STUB_REDIRECT(ksm_node_folio, node, lock);

	might_sleep_if(lock == KSM_FOLIO_LOCK);
	do {
		/* Pairs with the release in folio_migrate_ksm(). */
		moves = smp_load_acquire(&node->moves);
		folio = pfn_folio(READ_ONCE(node->kpfn));
		if (node_folio_try_get(node, folio)) {
			err = node_folio_lock(node, folio, lock);
			if (!err)
				return folio;
			folio_put(folio);
			if (err == -EBUSY)
				return ERR_PTR(err);
		}
		/* Pairs with smp_wmb() in folio_migrate_ksm(). */
		smp_rmb();
	} while (READ_ONCE(node->moves) != moves);
	return NULL;
}

/* Iterate over what leads to the mappings of a node: its items, then its orphans. */
static struct ksm_rmap_item *next_anchor(struct ksm_stable_node *node,
					 struct ksm_rmap_item *item)
{
	struct list_head *next = item ? item->link.next : node->items.next;

	if (next == &node->items)
		next = node->orphans.next;
	return next == &node->orphans ? NULL : list_entry(next, struct ksm_rmap_item, link);
}

/* Read-lock an anon_vma: wait, or if rwc->try_lock is set, report contention. */
static bool rmap_lock(struct anon_vma *anon_vma, struct rmap_walk_control *rwc)
{
	if (anon_vma_trylock_read(anon_vma))
		return true;
	if (rwc->try_lock) {
		rwc->contended = true;
		return false;
	}
	anon_vma_lock_read(anon_vma);
	return true;
}

/* Returns whether the walk continues. */
static bool rmap_walk_item(struct folio *folio, struct ksm_rmap_item *item,
			   struct rmap_walk_control *rwc)
{
	struct anon_vma *anon_vma = item->anon_vma;
	struct anon_vma_chain *avc;
	bool more = true;

	if (!rmap_lock(anon_vma, rwc))
		return false;
	anon_vma_interval_tree_foreach(avc, &anon_vma->rb_root, item->place,
				       item->place) {
		struct vm_area_struct *vma = avc->vma;
		unsigned long addr = vma_address(vma, item->place, 1);

		cond_resched();
		if (rwc->invalid_vma && rwc->invalid_vma(vma, rwc->arg))
			continue;
		more = rwc->rmap_one(folio, vma, addr, rwc->arg) &&
		       !(rwc->done && rwc->done(folio));
		if (!more)
			break;
	}
	anon_vma_unlock_read(anon_vma);
	return more;
}

/**
 * rmap_walk_ksm() - visit every mapping of a KSM page
 * @folio: KSM page; locked, so that its node's lists do not change
 * @rwc: what to do; see rmap_walk()
 *
 * May visit a VMA more than once, for example a child's VMA through its own rmap_item
 * and through its parent's. May visit VMAs that do not map the page. As in every rmap
 * walk, rmap_one must look at the page table.
 */
void rmap_walk_ksm(struct folio *folio, struct rmap_walk_control *rwc)
{
	struct ksm_stable_node *node;
	struct ksm_rmap_item *item;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_ksm(folio), folio);
	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);

	node = ksm_folio_node(folio);
	if (!node)
		return;
	for (item = next_anchor(node, NULL); item;
	     item = next_anchor(node, item)) {
		cond_resched();
		if (!rmap_walk_item(folio, item, rwc))
			return;
	}
}

/*
 * Does an rmap walk from this node find a mapping at this address without the item
 * @without? Returns false if it takes more than @budget items to find out.
 */
static bool node_covers(struct ksm_stable_node *node,
			struct ksm_rmap_item *without,
			struct vm_area_struct *vma, unsigned long addr,
			int *budget)
{
	pgoff_t index = linear_page_index(vma, addr);
	struct ksm_rmap_item *item;
	struct anon_vma_chain *avc;

	for (item = next_anchor(node, NULL); item;
	     item = next_anchor(node, item)) {
		if (--*budget < 0)
			return false;
		if (item == without || item->place != index)
			continue;
		list_for_each_entry(avc, &vma->anon_vma_chain, same_vma) {
			if (avc->anon_vma == item->anon_vma)
				return true;
		}
	}
	return false;
}

/* If the administrator allows more mappings per page, look at as many. */
static int max_anchors(void)
{
	return max_t(int, KSM_MAX_ANCHORS, READ_ONCE(ksm_domain.index.max_sharing));
}

/* Is there, among @budget others, an item with the same anon_vma and index? */
static bool is_redundant(struct ksm_rmap_item *item, int *budget)
{
	struct ksm_rmap_item *other;

	for (other = next_anchor(item->node, NULL); other && --*budget >= 0;
	     other = next_anchor(item->node, other)) {
		if (other != item && other->place == item->place &&
		    other->anon_vma == item->anon_vma)
			return true;
	}
	return false;
}

static bool mapped_at(struct folio *folio, struct vm_area_struct *vma,
		      unsigned long addr)
{
	DEFINE_FOLIO_VMA_WALK(pvmw, folio, vma, addr, PVMW_SYNC);
	bool mapped = false;

	while (page_vma_mapped_walk(&pvmw))
		mapped = true;
	return mapped;
}

/* Is the page swapped out at this address, and still in the swap cache? */
static bool swapped_at(struct folio *folio, struct vm_area_struct *vma,
		       unsigned long addr)
{
	pmd_t *pmd = mm_find_pmd(vma->vm_mm, addr);
	pte_t *ptep, pte;

	if (!folio_test_swapcache(folio) || !pmd)
		return false;
	ptep = pte_offset_map(pmd, addr);
	if (!ptep)
		return false;
	pte = ptep_get_lockless(ptep);
	pte_unmap(ptep);
	return is_swap_pte(pte) && pte_to_swp_entry(pte).val == folio->swap.val;
}

/**
 * ksm_item_needed() - does an rmap walk need this rmap_item to find some mapping?
 * @item: stable item or orphan, whose own mapping is gone or does not count
 * @folio: its node's page; locked, so that it is not being migrated
 * @vmas: how many VMAs may be looked at; afterwards, how many are left, where
 *	KSM_ANCHORS_PER_VMA other rmap_items that were looked at count as a VMA
 *
 * A fork may have made mappings that ksmd has not met yet. A fork that is under way does
 * no harm: a child's VMA is visited after its parent's, so either the parent still has
 * the mapping, or the child already has it.
 *
 * While the page is in the swap cache, a swap-in maps it, and not a copy, if the rmap
 * walk will find the mapping: see swapin_as_is().
 *
 * Return: whether a walk without @item would miss a VMA that maps the page or will map it;
 * true also if @vmas do not suffice to find out. A needless orphan does no harm for a
 * while.
 */
bool ksm_item_needed(struct ksm_rmap_item *item, struct folio *folio, unsigned int *vmas)
{
	int budget = max_anchors(), others = budget, max = budget;
	struct anon_vma *anon_vma = item->anon_vma;
	struct anon_vma_chain *avc;
	bool needed = false;

	KUNIT_STATIC_STUB_REDIRECT(ksm_item_needed, item, folio, vmas);

	if (!folio_mapped(folio) && !folio_test_swapcache(folio))
		return false;
	anon_vma_lock_read(anon_vma);
	anon_vma_interval_tree_foreach(avc, &anon_vma->rb_root, item->place,
				       item->place) {
		unsigned long addr = vma_address(avc->vma, item->place, 1);

		cond_resched();
		needed = !*vmas || ((mapped_at(folio, avc->vma, addr) ||
				     swapped_at(folio, avc->vma, addr)) &&
				    !node_covers(item->node, item, avc->vma, addr,
						 &budget));
		if (needed)
			break;
		--*vmas;
	}
	anon_vma_unlock_read(anon_vma);
	/* Most items are not needed, so the search for another one comes last. */
	needed = needed && !is_redundant(item, &others);
	*vmas -= min_t(unsigned int, *vmas,
		       ((max - max(budget, 0)) + (max - max(others, 0))) / KSM_ANCHORS_PER_VMA);
	return needed;
}

/*
 * Can a page from the swap cache be mapped at this address as it is, so that the rmap
 * walk finds it? A KSM page is mapped only where memory is offered.
 */
static bool swapin_as_is(struct folio *folio, struct vm_area_struct *vma,
			 unsigned long addr)
{
	struct anon_vma *anon_vma = folio_anon_vma(folio);
	struct ksm_stable_node *node;
	int budget = max_anchors();

	if (folio_test_large(folio))
		return true;
	if (folio_test_ksm(folio)) {
		node = ksm_folio_node(folio);
		return node && (vma->vm_flags & VM_MERGEABLE) &&
		       node_covers(node, NULL, vma, addr, &budget) &&
		       !(READ_ONCE(ksm_domain.run) & KSM_RUN_UNMERGE);
	}
	if (!anon_vma)
		return true;
	return folio->index == linear_page_index(vma, addr) &&
	       anon_vma->root == vma->anon_vma->root;
}

static struct folio *alloc_charged(struct vm_area_struct *vma,
				   unsigned long addr)
{
	struct folio *folio;

	folio = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, vma, addr, false);
	if (!folio)
		return NULL;
	if (!mem_cgroup_charge(folio, vma->vm_mm, GFP_KERNEL))
		return folio;
	folio_put(folio);
	return NULL;
}

/**
 * ksm_might_need_to_copy() - choose the page for a fault on swapped-out memory
 * @folio: page in the swap cache; locked, referenced by the caller
 * @vma: VMA of the fault
 * @addr: address of the fault
 *
 * A page that was a KSM page when it was swapped out may belong to unrelated mm's. It
 * can be mapped again only where the rmap walk finds it. Elsewhere the fault gets a
 * copy, which ksmd may merge again later.
 *
 * Return: @folio if it can be mapped there; else a new folio with the same
 * bytes, locked and charged, with a reference for the caller; NULL without
 * memory; ERR_PTR(-EHWPOISON) if the page cannot be read.
 */
struct folio *ksm_might_need_to_copy(struct folio *folio,
				     struct vm_area_struct *vma,
				     unsigned long addr)
{
	struct page *page = folio_page(folio, 0);
	struct folio *copy;

	if (swapin_as_is(folio, vma, addr))
		return folio;
	if (PageHWPoison(page))
		return ERR_PTR(-EHWPOISON);
	/* The fault handler reports the failed read. */
	if (!folio_test_uptodate(folio))
		return folio;

	copy = alloc_charged(vma, addr);
	if (!copy)
		return NULL;
	if (copy_mc_user_highpage(folio_page(copy, 0), page, addr, vma)) {
		folio_put(copy);
		return ERR_PTR(-EHWPOISON);
	}
	folio_set_dirty(copy);
	__folio_mark_uptodate(copy);
	__folio_set_locked(copy);
#ifdef CONFIG_SWAP
	count_vm_event(KSM_SWPIN_COPY);
#endif
	return copy;
}

#ifdef CONFIG_MIGRATION
/**
 * folio_migrate_ksm() - tell a stable node that its page has moved
 * @newfolio: the new page; locked; its mapping is set already
 * @folio: the old page; locked
 */
void folio_migrate_ksm(struct folio *newfolio, struct folio *folio)
{
	struct ksm_stable_node *node = ksm_folio_node(folio);

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(newfolio), newfolio);
	VM_WARN_ON_ONCE_FOLIO(newfolio->mapping != folio->mapping, newfolio);
	if (!node)
		return;

	VM_WARN_ON_ONCE_FOLIO(node->kpfn != folio_pfn(folio), folio);
	/* A reader that sees the new kpfn must see the new page's mapping. */
	smp_store_release(&node->kpfn, folio_pfn(newfolio));
	/* Pairs with the acquire in ksm_node_folio(). */
	smp_store_release(&node->moves, node->moves + 1);
	/*
	 * ksm_node_folio() must not see that the old page has lost the node, or
	 * has left the swap cache, before it can see the move.
	 */
	smp_wmb();
	ksm_folio_set_node(folio, NULL);
}
#endif /* CONFIG_MIGRATION */

#ifdef CONFIG_MEMORY_FAILURE
/**
 * struct ksm_victims - the processes that map a poisoned page
 * @page: the page
 * @list: list to add them to
 * @force_early: list also those that did not ask for an early kill
 */
struct ksm_victims {
	struct page *page;
	struct list_head *list;
	int force_early;
};

static bool collect_victims(struct folio *folio, struct vm_area_struct *vma,
			    unsigned long addr, void *arg)
{
	struct ksm_victims *victims = arg;
	struct task_struct *tsk, *victim;

	if (!mapped_at(folio, vma, addr))
		return true;
	rcu_read_lock();
	for_each_process(tsk) {
		victim = task_early_kill(tsk, victims->force_early);
		if (victim && victim->mm == vma->vm_mm)
			add_to_kill_ksm(victim, victims->page, vma, victims->list, addr);
	}
	rcu_read_unlock();
	return true;
}

/**
 * collect_procs_ksm() - list the processes that map a poisoned page
 * @folio: KSM page; locked
 * @page: its page
 * @to_kill: list to add to
 * @force_early: list also those that did not ask for an early kill
 *
 * Only processes that map the page are listed.
 */
void collect_procs_ksm(struct folio *folio, struct page *page,
		       struct list_head *to_kill, int force_early)
{
	struct ksm_victims victims = {
		.page = page, .list = to_kill, .force_early = force_early,
	};
	struct rmap_walk_control rwc = { .rmap_one = collect_victims, .arg = &victims };

	rmap_walk_ksm(folio, &rwc);
}
#endif /* CONFIG_MEMORY_FAILURE */
