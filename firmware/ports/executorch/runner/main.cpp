/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a program of `mmoe-embed export`: takes the tokens of a prompt, prints those that follow. */
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string>
#include <vector>

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

#include "mmoe_status.h"

using executorch::extension::make_tensor_ptr;
using executorch::extension::Module;
using executorch::runtime::Error;

/* Of the operators: the mmoe_status behind the last error on this thread, 0 where the error was not theirs */
extern "C" int mmoe_executorch_failure(void);

namespace {

const char kUsage[] =
    "usage: mmoe_runner PROGRAM.pte [--data FILE.ptd] [--mmap] [--count N] [--logits] TOKEN...\n"
    "  Feeds the tokens, then prints N greedy ones (default 1), one a line; a line `peak resident N B` ends the output.\n"
    "  --data    the file that holds the program's experts, where they lie beside it\n"
    "  --mmap    map the program's file; without it the program is read into memory, its paged experts are not\n"
    "  --logits  also print, before each token, a line `logits` with the bits of every one in hex\n";

struct Options {
    std::string program, data;
    bool mapped = false, logits = false;
    long count = 1;
    std::vector<int64_t> tokens;
};

bool parse_number(const char* text, long least, long* number) {
    char* end;
    *number = std::strtol(text, &end, 10);
    return *text && !*end && *number >= least;
}

bool parse(int argc, char** argv, Options* options) {
    for (int i = 1; i < argc; i++) {
        const std::string word = argv[i];
        const bool more = i + 1 < argc;
        long number;
        if (word == "--data" && more)
            options->data = argv[++i];
        else if (word == "--count" && more && parse_number(argv[i + 1], 1, &number))
            options->count = number, i++;
        else if (word == "--mmap")
            options->mapped = true;
        else if (word == "--logits")
            options->logits = true;
        else if (options->program.empty() && word[0] != '-')
            options->program = word;
        else if (parse_number(argv[i], 0, &number))
            options->tokens.push_back(number);
        else
            return false;
    }
    return !options->program.empty() && !options->tokens.empty();
}

/* What an error says; kStatus has those that a program can give. */
void print_failure(int64_t position, Error error, bool data) {
    static const struct {
        int status;
        const char *what, *advice;
    } kStatus[] = {
        {MMOE_E_ARGUMENT, "the paging plan is damaged, or there is no memory for its slots", "export the program again"},
        {MMOE_E_TOKEN, "a token is not in the vocabulary", "tokens of the tokenizer.json beside the program"},
        {MMOE_E_NUMERIC, "an activation is too large or NaN", "mmoe-embed validate, and the checkpoint's weights"},
        {MMOE_E_PAGE_CRC, "an expert's page does not match its CRC-32", "export the program again"},
        {MMOE_E_PAGE_READ, "an expert's page could not be read", "--data FILE.ptd, the one that was exported with the program"},
        {MMOE_E_IMAGE, "the experts are not those of the program", "--data FILE.ptd, the one that was exported with the program"},
    };
    const int status = mmoe_executorch_failure();
    const auto* known = std::find_if(std::begin(kStatus), std::end(kStatus), [=](const auto& k) { return k.status == status; });
    const bool named = known != std::end(kStatus);
    std::fprintf(stderr, "Error: position %lld: %s (ExecuTorch 0x%x, mmoe_status %d)\n  try: %s\n", static_cast<long long>(position),
                 named ? known->what : "ExecuTorch gives an error", static_cast<unsigned>(error), status,
                 named  ? known->advice
                 : data ? "export the program again"
                        : "--data FILE.ptd, where the program was exported with --ptd");
}

/* The program's passes: prefill of up to a chunk of tokens, decode of one */
class Model {
 public:
    explicit Model(const Options& options)
        : module_(options.program, options.data.empty() ? std::vector<std::string>{} : std::vector<std::string>{options.data},
                  options.mapped ? Module::LoadMode::Mmap : Module::LoadMode::File, nullptr, nullptr, nullptr,
                  /*share_memory_arenas=*/true),
          data_(!options.data.empty()) {}

    /* An integer that the program has as a constant; -1 when it has not. */
    int64_t constant(const char* name) {
        auto result = module_.execute(name);
        return result.ok() && result->size() == 1 && (*result)[0].isInt() ? (*result)[0].toInt() : -1;
    }

    bool start() {
        const auto names = module_.method_names();
        if (!names.ok() || names->count("mmoe_window")) return false; /* a classifier takes windows of a signal */
        chunk_ = constant("mmoe_chunk");
        context_ = constant("mmoe_context");
        return chunk_ >= 1 && context_ >= 1;
    }

    /* Takes tokens, at least one; *logits: those that follow the last one. */
    bool feed(const int64_t* tokens, size_t count, std::vector<float>* logits) {
        for (size_t done = 0, now; done < count; done += now) {
            now = std::min(count - done, static_cast<size_t>(chunk_));
            if (position_ + static_cast<int64_t>(now) > context_)
                return std::fprintf(stderr, "Error: the context of %lld tokens is full\n", static_cast<long long>(context_)), false;
            auto input = make_tensor_ptr({static_cast<int>(now)}, std::vector<int64_t>(tokens + done, tokens + done + now));
            auto at = make_tensor_ptr({1}, std::vector<int64_t>{position_});
            auto result = module_.execute(now == 1 ? "decode" : "prefill", {input, at});
            if (!result.ok())
                return print_failure(position_, result.error(), data_), false;
            position_ += static_cast<int64_t>(now);
            const auto& out = (*result)[0].toTensor();
            logits->assign(out.const_data_ptr<float>(), out.const_data_ptr<float>() + out.numel());
        }
        return true;
    }

 private:
    Module module_;
    bool data_;  // a .ptd was given
    int64_t chunk_ = 0, context_ = 0, position_ = 0;
};

void print_logits(const std::vector<float>& logits) {
    std::fputs("logits", stdout);
    for (const float logit : logits) {
        uint32_t bits;
        std::memcpy(&bits, &logit, sizeof bits);
        std::printf(" %08x", bits);
    }
    std::putchar('\n');
}

/* As the kernel counts it, in bytes; 0 where it does not. */
long long peak_resident() {
    long long kilobytes = 0;
    char line[256];
    FILE* status = std::fopen("/proc/self/status", "r");
    if (!status) return 0;
    while (std::fgets(line, sizeof line, status))
        if (std::sscanf(line, "VmHWM: %lld", &kilobytes) == 1) break;
    std::fclose(status);
    return kilobytes * 1024;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    if (!parse(argc, argv, &options)) return std::fputs(kUsage, stderr), 2;
    Model model(options);
    if (!model.start())
        return std::fprintf(stderr, "Error: %s is no program of mmoe-embed that takes tokens%s\n", options.program.c_str(),
                            options.data.empty() ? "" : ", or what --data names is damaged or another one"), 1;
    std::vector<float> logits;
    if (!model.feed(options.tokens.data(), options.tokens.size(), &logits)) return 1;
    for (long n = 1; n <= options.count; n++) {
        if (options.logits) print_logits(logits);
        const int64_t token = std::max_element(logits.begin(), logits.end()) - logits.begin();
        std::printf("%lld\n", static_cast<long long>(token));
        if (n < options.count && !model.feed(&token, 1, &logits)) return 1;
    }
    std::printf("peak resident %lld B\n", peak_resident());
    return 0;
}
