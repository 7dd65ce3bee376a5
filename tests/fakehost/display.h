/* SPDX-License-Identifier: Apache-2.0 */
/* What hangs on a display: drm and sound devices, framebuffers, consoles, usb. */
#pragma once

#include "line.h"

int display_drm_line(struct line *l);
int display_sound_line(struct line *l);
int display_fb_line(struct line *l);
int display_bootfb_line(struct line *l);
int display_vtcon_line(struct line *l);
int display_usb_line(struct line *l);
