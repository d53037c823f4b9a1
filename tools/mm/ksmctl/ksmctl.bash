# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Completion of ksmctl's arguments in bash.

_ksmctl_commands='status top on off unmerge get set run estimate record plot watch'

# _ksmctl_options COMMAND
_ksmctl_options() {
	local own=
	case $1 in
	status) own=--interval ;;
	top) own='--batch --interval --reverse --sort' ;;
	get) own='--all --value' ;;
	run) own=--quiet ;;
	estimate) own='--all --memory --offered --quiet --timeout' ;;
	record) own='--duration --interval --output' ;;
	plot) own=--output ;;
	watch) own='--duration --raw' ;;
	esac
	echo "$own --json --color= --root= --help --usage --version"
}

_ksmctl_files() {
	local root=${KSMCTL_ROOT:-}
	(cd "$root/sys/kernel/mm/ksm" 2>/dev/null && echo ./* | sed 's,\./,,g')
}

_ksmctl_pids() {
	(cd "${KSMCTL_ROOT:-}/proc" 2>/dev/null && echo [0-9]*)
}

# _ksmctl_arguments COMMAND: those that are no options.
_ksmctl_arguments() {
	case $1 in
	'') echo "$_ksmctl_commands" ;;
	get | set) _ksmctl_files ;;
	estimate) _ksmctl_pids ;;
	watch)
		echo ksm_start_scan ksm_stop_scan ksm_enter ksm_exit ksm_merge_one_page \
			ksm_merge_with_ksm_page ksm_remove_ksm_page ksm_remove_rmap_item ksm_advisor
		;;
	esac
}

# _ksmctl_command: the command among the words so far, and where it is.
_ksmctl_command() {
	local i
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-*) ;;
		*) [[ " $_ksmctl_commands " = *" ${COMP_WORDS[i]} "* ]] && echo "${COMP_WORDS[i]} $i" && return ;;
		esac
	done
}

# _ksmctl_complete WORDS: those that begin like the current one.
_ksmctl_complete() {
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "${COMP_WORDS[COMP_CWORD]}")
}

_ksmctl() {
	local command place
	read -r command place < <(_ksmctl_command) || true
	COMPREPLY=()
	case $command,${COMP_WORDS[COMP_CWORD - 1]} in
	top,--sort | top,-s) _ksmctl_complete 'offered merged saved cost pid name' && return ;;
	record,--output | plot,--output | record,-o | plot,-o) compopt -o default && return ;;
	*,--color | *,=) _ksmctl_complete 'auto always never' && return ;;
	esac
	case $command,${COMP_WORDS[COMP_CWORD]} in
	*,-*) _ksmctl_complete "$(_ksmctl_options "$command")" ;;
	plot,*) compopt -o default ;;
	run,* | record,*) _ksmctl_started "$place" ;;
	*) _ksmctl_complete "$(_ksmctl_arguments "$command")" ;;
	esac
}

# _ksmctl_started PLACE: what is started has completions of its own; its name is a command's.
_ksmctl_started() {
	if declare -F _command_offset >/dev/null; then
		_command_offset $(($1 + 1))
	else
		mapfile -t COMPREPLY < <(compgen -c -- "${COMP_WORDS[COMP_CWORD]}")
	fi
}

complete -F _ksmctl ksmctl
