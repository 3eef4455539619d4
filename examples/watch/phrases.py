"""What people say to a watch: patterns by intent.

`(a|b)` stands for either, `<slot>` for a slot of slots.py; an empty alternative leaves the words out. A pattern
expanded to one choice each is a template; templates are what the held-out split is made by.
"""

# ruff: noqa: SIM905 - word lists read better as text

import dataclasses
import itertools
import re


@dataclasses.dataclass(frozen=True)
class Phrase:
    """Patterns that mean one action."""

    action: str  # the call, with <slot> where the written value goes
    patterns: tuple[str, ...]
    weight: float = 1.0


def expand(pattern: str) -> list[str]:
    """Every template of a pattern."""
    parts = re.split(r"\(([^)]*)\)", pattern)
    choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return sorted({" ".join("".join(c).split()) for c in itertools.product(*choices)})


# Words around a template. They are no part of it: every template meets all that go with it.
BEFORE_COMMAND = ("",) * 9 + (
    "please ",
    "can you ",
    "could you ",
    "hey ",
    "ok ",
    "i want you to ",
    "would you ",
    "can you please ",
    "hey watch ",
    "watch ",
    "i need you to ",
)
BEFORE_SENTENCE = ("",) * 9 + ("hey ", "ok ", "hey watch ", "watch ")
AFTER = ("",) * 9 + (" please", " thanks", " thank you")
COMMAND_VERBS = frozenset(
    (
        "activate add alert answer ask beep begin book brighten bring call cancel change check clear connect "
        "convert count crank create deactivate decrease delete dial dim disable drive drop enable end find finish "
        "get give guide halt increase kill locate log look lower make measure message mute navigate note open "
        "pause phone ping place play put raise read record reduce remind remove repeat reply reset resume ring "
        "run save schedule search send set show silence skip start stop switch take tell text time track turn "
        "unpause wake write zero"
    ).split()
)
QUESTION_WORDS = frozenset("what what's how how's when where which who is am are do will can".split())
# A slot that takes any words: what follows it would be taken for a part of it.
FREE_SLOTS = ("<todo>", "<note>", "<text>", "<song>", "<full_name>", "<place>", "<title>")

PHRASES = (
    # alarms
    Phrase(
        "alarm(<time>)",
        (
            "(set|make|create|add|put) (an alarm|my alarm|alarm|a new alarm|the alarm) (for|at) <time>",
            "(wake|get) me (up|) (at|by) <time>",
            "wake me up <time>",
            "(an|new|) alarm (at|for) <time>",
            "alarm <time>",
            "i (need|have|want|must) to (get up|wake up|be up) (at|by) <time>",
            "(ring|beep) (me|) at <time>",
            "(make sure|be sure) i (am up|wake up|get up) (at|by) <time>",
            "i want an alarm (at|for) <time>",
            "do not let me sleep past <time>",
            "let me sleep until <time>",
            "schedule (an|my) alarm (for|at) <time>",
        ),
        2.0,
    ),
    Phrase(
        "alarm(<time>, <future>)",
        (
            "(set|make|create|add) (an alarm|my alarm|alarm|the alarm) (for|at) <time> <future>",
            "(wake|get) me (up|) (at|by) <time> <future>",
            "wake me (up|) <future> at <time>",
            "(set|create|add) (an|my|the) alarm <future> (for|at) <time>",
            "<future> (wake me|get me up) at <time>",
            "i (need|have|want) to (get up|wake up|be up) <future> (at|by) <time>",
            "i (need|have) to (get up|be up) (at|by) <time> <future>",
            "alarm (at|for) <time> <future>",
            "alarm <future> at <time>",
        ),
        1.3,
    ),
    Phrase(
        "alarm_off(<time>)",
        (
            "(cancel|delete|remove|drop|turn off|switch off|disable|stop) (the|my|) <time> alarm",
            "(cancel|delete|remove|turn off|switch off|disable) (the|my) alarm (at|for) <time>",
            "i (do not|don't) need the <time> alarm",
        ),
    ),
    Phrase(
        "alarm_off()",
        (
            "(cancel|delete|remove|turn off|switch off|disable|stop) (the|my|all|all my) (alarm|alarms)",
            "(no more|kill the|kill all) alarms",
            "i (do not|don't) need (an|the|my) alarm",
            "no alarm (today|tomorrow|)",
        ),
        0.6,
    ),
    # timers
    Phrase(
        "timer(<duration>)",
        (
            "(set|start|make|create|run|begin|add) (a timer|the timer|timer|my timer|a countdown) (for|of) <duration>",
            "(set|start|make|create) (a|the|) <duration> (timer|countdown)",
            "<duration> (timer|countdown)",
            "timer <duration>",
            "(timer|countdown) (for|of) <duration>",
            "count down (from|) <duration>",
            "(let me know|alert me|beep|ring) in <duration>",
            "(time|countdown) <duration>",
            "(i need|give me|i want) a (timer|countdown) (for|of) <duration>",
            "(let me know|tell me|beep|alert me) "
            "(after <duration>|when <duration> are over|when <duration> have passed)",
            "time me for <duration>",
        ),
        2.0,
    ),
    Phrase(
        "timer_off()",
        (
            "(cancel|stop|delete|remove|end|clear|kill|turn off) (the|my|) (timer|countdown|timers)",
            "i (do not|don't) need the timer",
        ),
        0.6,
    ),
    Phrase(
        "timer_left()",
        (
            "how (much time|long|many minutes) (is|are|do i have) left (on the timer|on my timer|)",
            "(check|show) (the|my) timer",
            "how long (until|till) the timer (ends|rings|is done)",
            "time left (on the timer|)",
        ),
        0.5,
    ),
    Phrase(
        "stopwatch(start)",
        ("(start|begin|run|open) (the|a|my|) stopwatch", "(start|begin) timing (me|this|)", "stopwatch (start|go)"),
        0.4,
    ),
    Phrase(
        "stopwatch(stop)",
        ("(stop|pause|end|halt) (the|my|) stopwatch", "(stop|end) timing (me|this|)", "stopwatch stop"),
        0.4,
    ),
    Phrase(
        "stopwatch(reset)",
        ("(reset|clear|zero) (the|my|) stopwatch", "(set|put) the stopwatch (back|) to zero", "stopwatch reset"),
        0.4,
    ),
    # reminders
    Phrase(
        "remind(<time>, <todo>)",
        (
            "(remind me|tell me|ping me) to <todo> (at|by) <time>",
            "(remind me|tell me|ping me) (at|by) <time> to <todo>",
            "at <time> (remind|tell) me to <todo>",
            "(set|make|create|add) (a reminder|reminder|the reminder) (to|that i) <todo> at <time>",
            "(set|make|create|add) a reminder (at|for) <time> to <todo>",
            "(reminder|reminder to) <todo> at <time>",
            "i (need|have|want|must) to <todo> at <time>",
            "(do not|don't) let me forget to <todo> at <time>",
            "(i need|i want|give me) a reminder (at|for) <time> to <todo>",
        ),
        2.0,
    ),
    Phrase(
        "remind(<duration>, <todo>)",
        (
            "(remind me|tell me|ping me) to <todo> in <duration>",
            "(remind me|tell me|ping me) in <duration> to <todo>",
            "in <duration> (remind|tell) me to <todo>",
            "(set|make|create|add) a reminder in <duration> to <todo>",
            "(reminder|reminder to) <todo> in <duration>",
            "i (need|have|want|must) to <todo> in <duration>",
            "(do not|don't) let me forget to <todo> in <duration>",
        ),
        1.4,
    ),
    Phrase(
        "remind(<future>, <todo>)",
        (
            "(remind me|ping me|tell me) to <todo> <future>",
            "(remind me|ping me|tell me) <future> to <todo>",
            "<future> (remind|tell) me to <todo>",
            "(set|make|create|add) a reminder <future> to <todo>",
            "(do not|don't) let me forget to <todo> <future>",
            "i (need|have|must) to <todo> <future>",
        ),
        1.2,
    ),
    Phrase(
        "note(<note>)",
        (
            "(take|make|write|add|save) (a note|note|a memo|a quick note) (saying|that says|:|) <note>",
            "(note|memo|note:) <note>",
            "(write|note|jot) down <note>",
            "(save|keep) (this|the|a) note <note>",
            "(new note|new memo) <note>",
        ),
        1.2,
    ),
    # people
    Phrase(
        "call(<full_name>)",
        (
            "(call|phone|ring|dial) <full_name>",
            "(call|phone|ring) up <full_name>",
            "give <full_name> a (call|ring)",
            "(make|start|place) a (call|phone call) to <full_name>",
            "(i want|i need|i would like|i have) to (call|talk to|speak to|speak with|talk with|phone) <full_name>",
            "(get|put) <full_name> on the (phone|line)",
            "(let me|let us) (talk|speak) (to|with) <full_name>",
            "(start|make) (a|the) (phone|video) call with <full_name>",
            "connect me (to|with) <full_name>",
        ),
        1.6,
    ),
    Phrase(
        "call(<relation>)",
        (
            "(call|phone|ring|dial) (my|) <relation>",
            "give my <relation> a (call|ring)",
            "(make|place) a (call|phone call) to (my|) <relation>",
            "i (want|need|have) to (call|talk to|speak to|speak with|phone) my <relation>",
            "get my <relation> on the (phone|line)",
            "let me (talk|speak) (to|with) my <relation>",
            "connect me (to|with) my <relation>",
        ),
        0.8,
    ),
    Phrase(
        "call(<shop>)",
        (
            "(call|phone|ring|dial) the <shop>",
            "make a (call|phone call) to the <shop>",
            "i (want|need|have) to (call|talk to|speak to|phone) the <shop>",
            "give the <shop> a (call|ring)",
            "connect me (to|with) the <shop>",
        ),
        0.6,
    ),
    Phrase(
        "message(<person>, <text>)",
        (
            "(text|message|tell|write) <person> <text>",
            "(text|tell|message|write) <person> that <text>",
            "(text|message|write) (to|) <person> saying <text>",
            "(send|write) (a message|a text|an sms|a text message|message|text) to <person> "
            "(saying|that says|that|:) <text>",
            "send <person> (a message|a text|an sms|a text message) (saying|that says|that|:) <text>",
            "(send|text|message) <text> to <person>",
            "let <person> know (that|) <text>",
            "(answer|reply to) <person> (with|saying|that) <text>",
        ),
        2.4,
    ),
    Phrase(
        "message(<relation>, <text>)",
        (
            "(tell|text|message) my <relation> (that|) <text>",
            "send (a message|a text|an sms) to my <relation> (saying|that says|that|:) <text>",
            "send my <relation> (a message|a text) (saying|that) <text>",
            "let my <relation> know (that|) <text>",
            "(send|text) <text> to my <relation>",
        ),
        0.8,
    ),
    # weather and time
    Phrase(
        "weather()",
        (
            "(what is|what's|how is|how's) the (weather|forecast) (like|now|right now|outside|)",
            "(show|tell|give) me the (weather|forecast)",
            "(weather|forecast|weather forecast)",
            "(is it|is it going to|will it) (raining|rain|snow|be sunny|be cold|be hot) (now|outside|)",
            "(how cold|how warm|how hot) is it (outside|now|)",
            "do i need (an umbrella|a jacket|a coat|sunscreen)",
            "what is the temperature (outside|now|)",
        ),
        0.8,
    ),
    Phrase(
        "weather(<day>)",
        (
            "(what is|what's|how is|how's) the (weather|forecast) (like|) <day>",
            "(show|tell|give) me the (weather|forecast) <day>",
            "(weather|forecast) <day>",
            "(will it|is it going to) (rain|snow|be sunny|be cold|be hot|be windy) <day>",
            "do i need (an umbrella|a jacket|a coat) <day>",
            "what will the weather be (like|) <day>",
            "how (cold|warm|hot) will it be <day>",
        ),
        0.9,
    ),
    Phrase(
        "weather(<city>)",
        (
            "(what is|what's|how is|how's) the (weather|forecast) (like|) in <city>",
            "(show|tell|give) me the (weather|forecast) (for|in) <city>",
            "<city> weather",
            "(weather|forecast) (in|for) <city>",
            "(is it raining|is it snowing|will it rain|will it snow) in <city>",
            "how (cold|warm|hot) is it in <city>",
            "what is the temperature in <city>",
        ),
        0.9,
    ),
    Phrase(
        "weather(<city>, <day>)",
        (
            "(what is|what's|how is) the (weather|forecast) (like|) in <city> <day>",
            "(will it|is it going to) (rain|snow|be sunny|be cold|be hot) in <city> <day>",
            "(weather|forecast) (in|for) <city> <day>",
            "(what is|what's|how is) the (weather|forecast) <day> in <city>",
            "how (cold|warm|hot) will it be in <city> <day>",
        ),
        0.9,
    ),
    Phrase(
        "time()",
        (
            "what (time is it|is the time)",
            "(tell|show|give) me the (time|current time)",
            "(what's|what is) the (time|current time) (now|)",
            "do you (have|know) the time",
            "(time|current time)",
        ),
        0.4,
    ),
    Phrase(
        "time(<city>)",
        (
            "what time is it (now|) in <city>",
            "(what is|what's|tell me|show me) the (time|current time|local time) in <city>",
            "(time|current time|local time) in <city>",
            "do you know the time in <city>",
        ),
        0.7,
    ),
    # media
    Phrase(
        "play(<song>)",
        (
            "play (me|) <song>",
            "put on <song>",
            "put <song> on",
            "(i want|i would like) to (hear|listen to) <song>",
            "(start|begin) playing <song>",
            "play (some|a bit of) <song>",
            "(let me|let us) (hear|listen to) <song>",
            "(listen to|listen to some) <song>",
            "can i (hear|listen to) <song>",
        ),
        1.4,
    ),
    Phrase(
        "music(pause)",
        (
            "(pause|stop|halt) (the|my|this|) (music|song|playback|track)",
            "(stop|pause) playing (music|)",
            "(music|playback) (off|stop|pause)",
            "turn (the|) music off",
            "turn off the (music|song)",
            "pause (it|this)",
        ),
        0.5,
    ),
    Phrase(
        "music(resume)",
        (
            "(resume|continue|unpause) (the|my|this|) (music|song|playback|track)",
            "(continue|resume|keep) playing (music|)",
            "(play|start) the music again",
            "keep the music going",
        ),
        0.5,
    ),
    Phrase(
        "music(next)",
        (
            "(next|skip) (song|track)",
            "(play|go to|skip to|give me) the next (song|track|one)",
            "skip (this|the|this awful) (song|track|one|music)",
            "i (do not|don't) like this (song|track|one|music)",
            "(another|a different) (song|track) ",
        ),
        0.5,
    ),
    Phrase(
        "music(previous)",
        (
            "(previous|last) (song|track)",
            "(play|go to|go back to|give me) the (previous|last) (song|track|one)",
            "(go|skip) back (one song|one track|a song|a track)",
            "play (that|this) (song|track|one) again",
            "repeat (that|this|the) (song|track)",
        ),
        0.5,
    ),
    Phrase(
        "volume(<percent>)",
        (
            "(set|change|turn|put) (the|my|) volume to <percent> (percent|)",
            "(volume|sound) (to|at) <percent> (percent|)",
            "make the volume <percent> (percent|)",
            "volume <percent>",
            "(turn it|turn the sound|turn the music) (up|down) to <percent> (percent|)",
        ),
        0.9,
    ),
    Phrase(
        "volume(up)",
        (
            "turn up the (volume|sound|music)",
            "(make it|turn it) louder",
            "(raise|increase) the (volume|sound)",
            "(volume|sound) up",
            "make the (music|sound) louder",
            "(louder|a bit louder|more volume)",
            "i (can not|can't) hear (it|the music|anything)",
            "it is too quiet",
            "(turn|crank) (it|the volume|the music|the sound) up (a bit|)",
        ),
        0.6,
    ),
    Phrase(
        "volume(down)",
        (
            "turn down the (volume|sound|music)",
            "(make it|turn it) quieter",
            "(lower|reduce|decrease) the (volume|sound)",
            "(volume|sound) down",
            "make the (music|sound) (quieter|softer)",
            "(quieter|softer|a bit quieter|less volume)",
            "it is too loud",
            "the (music|sound|volume) is too loud",
            "turn (it|the volume|the music|the sound) down (a bit|)",
        ),
        0.6,
    ),
    Phrase(
        "volume(mute)",
        (
            "mute (the sound|the volume|it|everything|the watch|)",
            "(turn|switch) (the|all) sound off",
            "(turn|switch) off (the|all) (sound|volume)",
            "(no sound|silence the watch)",
        ),
        0.4,
    ),
    Phrase(
        "brightness(<percent>)",
        (
            "(set|change|turn|put) (the|my|) (brightness|screen brightness) to <percent> (percent|)",
            "(brightness|screen) (to|at) <percent> (percent|)",
            "make the (screen|brightness|display) <percent> (percent|)",
            "brightness <percent>",
            "(dim|brighten) the (screen|display) to <percent> (percent|)",
        ),
        0.9,
    ),
    Phrase(
        "brightness(up)",
        (
            "turn up the (brightness|screen brightness)",
            "make (the screen|the display|it) brighter",
            "(raise|increase) the (brightness|screen brightness)",
            "brightness up",
            "(brighter|brighten the screen|brighten the display)",
            "(the screen|the display|it) is too dark",
            "i (can not|can't) see the (screen|display)",
            "turn (the brightness|the screen) up (a bit|)",
        ),
        0.6,
    ),
    Phrase(
        "brightness(down)",
        (
            "turn down the (brightness|screen brightness)",
            "make (the screen|the display|it) (darker|dimmer)",
            "(lower|reduce|decrease) the (brightness|screen brightness)",
            "brightness down",
            "(dim|dim the screen|dim the display|darker)",
            "(the screen|the display|it) is too bright",
            "turn (the brightness|the screen) down (a bit|)",
        ),
        0.6,
    ),
    # body
    Phrase(
        "workout(start, <sport>)",
        (
            "(start|begin|track|record|log) (a|my|the|) <sport> (workout|session|exercise|training|)",
            "i am (going for a|starting my|starting a|about to start my) <sport> (workout|session|)",
            "(let us|let me|i want to) start (a|my|) <sport> (workout|session|)",
            "(start|begin) (recording|tracking) (a|my) <sport> (workout|session|)",
            "(time for|ready for) (a|my) <sport> (workout|session|)",
            "<sport> (workout|session)",
            "(new|start new) <sport> (workout|session)",
        ),
        1.4,
    ),
    Phrase(
        "workout(stop)",
        (
            "(stop|end|finish|quit) (the|my|this|) (workout|exercise|training|session)",
            "(i am|i'm) (done|finished) (with my workout|with the workout|exercising|training|working out)",
            "(stop|finish) (recording|tracking) (the|my|) (workout|exercise|training)",
            "(workout|training|exercise) (over|done|finished)",
            "(save|finish and save) my (workout|training)",
        ),
        0.6,
    ),
    Phrase(
        "workout(pause)",
        (
            "pause (the|my|this|) (workout|exercise|training|session)",
            "(take|let me take) a break from (the|my) (workout|training)",
            "(hold|freeze) (the|my) (workout|training|session)",
        ),
        0.4,
    ),
    Phrase(
        "workout(resume)",
        (
            "(resume|continue|unpause|go on with) (the|my|this|) (workout|exercise|training|session)",
            "(back to|let us continue) (the|my) (workout|training)",
        ),
        0.4,
    ),
    Phrase(
        "heart_rate()",
        (
            "(what is|what's|show|show me|check|measure|take|read|tell me) (my|the) (heart rate|pulse|heartbeat)",
            "how fast is my (heart|heart beating|pulse)",
            "(heart rate|pulse|heart beat)",
            "(what is|how many) my (bpm|beats per minute)",
            "how is my (heart|heart rate|pulse)",
        ),
        0.7,
    ),
    Phrase(
        "steps()",
        (
            "how many steps (have i done|have i taken|did i take|did i do|did i walk|have i walked) (today|so far|)",
            "(show|show me|check|tell me) (my|the) (steps|step count|step counter)",
            "(what is|what's) my step count (today|)",
            "(step count|steps|steps today)",
            "how (far|much) (have i walked|did i walk) (today|so far|)",
        ),
        0.6,
    ),
    Phrase(
        "sleep()",
        (
            "how (did i sleep|well did i sleep|long did i sleep|much did i sleep) (last night|)",
            "(show|show me|check|tell me) (my|the) (sleep|sleep score|sleep data)",
            "(what is|what's) my sleep score",
            "(sleep score|sleep report)",
        ),
        0.5,
    ),
    Phrase(
        "log_water(<count>)",
        (
            "(log|add|record|note|track) <count> (glasses|cups) of water",
            "i (drank|had|just drank|just had) <count> (glasses|cups) of water",
            "(<count>) (glasses|cups) of water",
        ),
        0.6,
    ),
    Phrase(
        "log_water(1)",
        (
            "(log|add|record|track) (a|one|another) (glass|cup) of water",
            "i (drank|had|just drank|just had) (a|one|some|another) (glass of|cup of) water",
        ),
        0.3,
    ),
    # device
    Phrase(
        "find_phone()",
        (
            "(find|locate|ring|look for|search) my (phone|mobile|cell phone|smartphone)",
            "where (is|did i put|did i leave|have i put) my (phone|mobile|cell phone|smartphone)",
            "(i lost|i can't find|i can not find|help me find|i have lost) my (phone|mobile|cell phone)",
            "make my (phone|mobile) (ring|beep)",
        ),
        0.9,
    ),
    Phrase(
        "battery()",
        (
            "(what is|what's|check|show|show me|tell me) (my|the) battery (level|status|)",
            "how much (battery|charge|power) (is left|do i have|do i have left|is there)",
            "(battery|battery level|battery status)",
            "how (full|low) is (my|the) battery",
            "do i need to charge (the|my) watch",
        ),
        0.6,
    ),
    Phrase(
        "switch(<switch>, on)",
        (
            "(turn|switch) on (the|) <switch>",
            "(turn|switch) (the|) <switch> on",
            "(enable|activate|start) (the|) <switch>",
            "<switch> on",
        ),
        0.9,
    ),
    Phrase(
        "switch(<switch>, off)",
        (
            "(turn|switch) off (the|) <switch>",
            "(turn|switch) (the|) <switch> off",
            "(disable|deactivate|stop) (the|) <switch>",
            "<switch> off",
        ),
        0.9,
    ),
    # calendar, conversion, navigation
    Phrase(
        "calendar(<day>)",
        (
            "(what is|what's) on my (calendar|schedule|agenda) <day>",
            "(show|show me|read|tell me|check) my (calendar|schedule|agenda|appointments|meetings) <day>",
            "(do i have|have i got) (any|) (meetings|appointments|events|plans|anything) <day>",
            "(what|which) (meetings|appointments|events|plans) do i have <day>",
            "(calendar|schedule|agenda) <day>",
            "am i (free|busy) <day>",
            "(what do i have|what is planned|what is up) <day>",
            "what (does my day look|is my day) like <day>",
        ),
        1.3,
    ),
    Phrase(
        "calendar(next)",
        (
            "(what is|what's|when is|show me|show|tell me) my next (meeting|appointment|event)",
            "(next|my next) (meeting|appointment|event)",
            "what is next on my (calendar|schedule|agenda)",
            "(when|where) is my next (meeting|appointment)",
            "what (comes|do i have) next",
        ),
        0.5,
    ),
    Phrase(
        "event(<day>, <time>, <title>)",
        (
            "(add|put|schedule|create|book) (a|an) event <day> at <time> (called|named|:) <title>",
            "(add|put|schedule|book) <title> <day> at <time>",
            "(add|put|schedule|book) <title> (to|in|on) my calendar <day> at <time>",
            "(new|create|add) (event|appointment) <title> <day> at <time>",
        ),
        0.9,
    ),
    Phrase(
        "convert(<number>, <unit>, <unit2>)",
        (
            "(convert|change|turn) <number> <unit> (to|into|in) <unit2>",
            "(what is|what's|how much is|how much are) <number> <unit> in <unit2>",
            "how many <unit2> (are|is|in|are in|are there in) <number> <unit>",
            "<number> <unit> (in|to|into) <unit2>",
            "(give|show|tell) me <number> <unit> in <unit2>",
            "(how much is|how much are) <number> <unit> (to|into) <unit2>",
        ),
        1.4,
    ),
    Phrase(
        "navigate(<place>)",
        (
            "(navigate|take me|guide me|bring me|get me|drive me) to <place>",
            "(directions|the way|route) to <place>",
            "how do i get to <place>",
            "(show|tell|find) me (the way|the route|how to get) to <place>",
            "(give|get) me directions to <place>",
            "(start|begin) navigation to <place>",
            "i (want|need|have) to (go|get|walk|drive) to <place>",
            "(where is|find) <place>",
            "(how far|how long) is it to <place>",
            "(let us|let me) go to <place>",
            "(what is the way|which way) to <place>",
        ),
        1.6,
    ),
)
