/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The build's own program for texts that come from tables: the example of the configuration, the
 * manual pages of section 5 and 8, docs/STATES.md. It is not installed. One thread; all on stdout.
 */
#pragma once

/* The committed example of /etc/horcrux/horcrux.conf: every key, none of them set. */
void page_conf(void);
void page_conf_manual(void);	/* horcrux.conf(5) */
void page_daemon_manual(void);	/* horcruxd(8) */
void page_helper_manual(void);	/* horcrux-privd(8) */
void page_states(void);		/* docs/STATES.md */

/* Of a manual page. */
void roff_head(const char *title, int section, const char *what);
/* Text in roff: backslashes, dashes that are typed as such, dots that would begin a request. */
void roff(const char *text);
/* A paragraph below a bold word; `more` stands behind the word, in italics, and may be NULL. */
void roff_item(const char *word, const char *more, const char *text);
void roff_section(const char *name);
