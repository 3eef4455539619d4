/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_STATUS_H
#define MMOE_STATUS_H

/* 0 or a negative status; the numbers travel over serial (SPEC.md 8.1) and never change. */
typedef enum {
    MMOE_OK = 0,
    MMOE_E_ARGUMENT = -1,     /* an argument is out of its documented range */
    MMOE_E_CONTEXT = -2,      /* the context is full: reset first */
    MMOE_E_TOKEN = -3,        /* token id is not in the vocabulary */
    MMOE_E_NUMERIC = -4,      /* an activation is 2^60 or more in magnitude, or NaN */
    MMOE_E_PAGE_CRC = -5,     /* an expert page does not match its CRC-32 */
    MMOE_E_PAGE_READ = -6,    /* the storage driver failed or read short */
    MMOE_E_PAGE_TIMEOUT = -7, /* the storage driver did not finish in time */
    MMOE_E_IMAGE = -8,        /* the expert image is not the one this firmware was built with */
    MMOE_E_UNSUPPORTED = -9,  /* unknown request type */
    MMOE_E_TEXT = -10,        /* the text has no tokens, or more than fit */
    MMOE_E_NO_PROMPT = -11,   /* an answer was asked for and no prompt is running */
} mmoe_status;

#endif
