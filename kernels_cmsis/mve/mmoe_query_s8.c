/* SPDX-License-Identifier: Apache-2.0 */
#include "../reference/mmoe_query_s8.c" /* not that of dsp/ */
