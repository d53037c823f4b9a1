/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ksm

#if !defined(_TRACE_KSM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KSM_H

#include <linux/tracepoint.h>

/*
 * Names, fields and texts of these events are an interface: scripts parse them.
 * An rmap_item or an mm is given as a pointer, to tell one from another.
 */

/* A pass over all offered memory: how many came before, how many rmap_items. */
DECLARE_EVENT_CLASS(ksm_scan_template,
	TP_PROTO(int seq, u32 rmap_entries),
	TP_ARGS(seq, rmap_entries),
	TP_STRUCT__entry(
		__field(int, seq)
		__field(u32, rmap_entries)
	),
	TP_fast_assign(
		__entry->rmap_entries = rmap_entries;
		__entry->seq = seq;
	),
	TP_printk("seq %d rmap size %d", __entry->seq, __entry->rmap_entries)
);

#define KSM_SCAN_EVENT(name)						\
DEFINE_EVENT(ksm_scan_template, name,					\
	TP_PROTO(int seq, u32 rmap_entries), TP_ARGS(seq, rmap_entries))

KSM_SCAN_EVENT(ksm_start_scan);
KSM_SCAN_EVENT(ksm_stop_scan);

/* An mm joins or leaves. */
DECLARE_EVENT_CLASS(ksm_enter_exit_template,
	TP_PROTO(void *mm),
	TP_ARGS(mm),
	TP_STRUCT__entry(__field(void *, mm)),
	TP_fast_assign(__entry->mm = mm;),
	TP_printk("mm %p", __entry->mm)
);

#define KSM_MM_EVENT(name)						\
DEFINE_EVENT(ksm_enter_exit_template, name, TP_PROTO(void *mm), TP_ARGS(mm))

KSM_MM_EVENT(ksm_enter);
KSM_MM_EVENT(ksm_exit);

/*
 * A page was merged with the zero page, or was not: err says why. No rmap_item, for a
 * mapping of the zero page has none.
 */
TRACE_EVENT(ksm_merge_one_page,
	TP_PROTO(unsigned long pfn, void *rmap_item, void *mm, int err),
	TP_ARGS(pfn, rmap_item, mm, err),
	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(void *, rmap_item)
		__field(void *, mm)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->err = err;
		__entry->mm = mm;
		__entry->rmap_item = rmap_item;
		__entry->pfn = pfn;
	),
	TP_printk("ksm pfn %lu rmap_item %p mm %p error %d", __entry->pfn,
		  __entry->rmap_item, __entry->mm, __entry->err)
);

/* A page was merged into ksm_page, or with ksm_page NULL became one itself. */
TRACE_EVENT(ksm_merge_with_ksm_page,
	TP_PROTO(void *ksm_page, unsigned long pfn, void *rmap_item, void *mm,
		 int err),
	TP_ARGS(ksm_page, pfn, rmap_item, mm, err),
	TP_STRUCT__entry(
		__field(void *, ksm_page)
		__field(unsigned long, pfn)
		__field(void *, rmap_item)
		__field(void *, mm)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->err = err;
		__entry->mm = mm;
		__entry->rmap_item = rmap_item;
		__entry->pfn = pfn;
		__entry->ksm_page = ksm_page;
	),
	TP_printk("%spfn %lu rmap_item %p mm %p error %d",
		  (__entry->ksm_page ? "ksm " : ""), __entry->pfn,
		  __entry->rmap_item, __entry->mm, __entry->err)
);

/* A stable node is given up: its page is gone or no longer shared. */
TRACE_EVENT(ksm_remove_ksm_page,
	TP_PROTO(unsigned long pfn),
	TP_ARGS(pfn),
	TP_STRUCT__entry(__field(unsigned long, pfn)),
	TP_fast_assign(__entry->pfn = pfn;),
	TP_printk("pfn %lu", __entry->pfn)
);

/* An rmap_item leaves the stable node of page pfn. */
TRACE_EVENT(ksm_remove_rmap_item,
	TP_PROTO(unsigned long pfn, void *rmap_item, void *mm),
	TP_ARGS(pfn, rmap_item, mm),
	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(void *, rmap_item)
		__field(void *, mm)
	),
	TP_fast_assign(
		__entry->mm = mm;
		__entry->rmap_item = rmap_item;
		__entry->pfn = pfn;
	),
	TP_printk("pfn %lu rmap_item %p mm %p", __entry->pfn,
		  __entry->rmap_item, __entry->mm)
);

/* The advisor chose a new pages_to_scan. */
TRACE_EVENT(ksm_advisor,
	TP_PROTO(s64 scan_time, unsigned long pages_to_scan,
		 unsigned int cpu_percent),
	TP_ARGS(scan_time, pages_to_scan, cpu_percent),
	TP_STRUCT__entry(
		__field(s64, scan_time)
		__field(unsigned long, pages_to_scan)
		__field(unsigned int, cpu_percent)
	),
	TP_fast_assign(
		__entry->cpu_percent = cpu_percent;
		__entry->pages_to_scan = pages_to_scan;
		__entry->scan_time = scan_time;
	),
	TP_printk("ksm scan time %lld pages_to_scan %lu cpu percent %u",
		  __entry->scan_time, __entry->pages_to_scan,
		  __entry->cpu_percent)
);

#endif /* _TRACE_KSM_H */

/* Read once more by design, hence outside the guard. */
#include <trace/define_trace.h>
