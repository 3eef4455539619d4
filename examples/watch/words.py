"""Word lists of the watch example; which of them training never sees is decided in slots.py."""

# ruff: noqa: SIM905 - word lists read better as text

NAMES = (
    "anna ben carla david emma felix greta hanna ivan julia karl lena max nina oscar paula quentin rosa sam "
    "tina ursula victor wendy xavier yara zoe adam bella chris diana eric fiona george helen isaac jack kate "
    "liam maria noah olivia peter rachel simon tom uma vera will yusuf zara alice bob charlie daisy ethan "
    "frank grace henry iris james kevin lucy mark nora owen priya quinn ryan sofia theo violet walter amir "
    "bianca cesar dmitri elena farid gina hugo ingrid jonas kim luca mei nadia omar pablo rita sven tara umar "
    "viktor wanda yuki ahmed beatrice colin doris edgar frida gustav hector ines joel katya lars monica nils "
    "olga pedro raj sarah tobias vincent winston yvonne martha patel smith garcia muller johnson brown nguyen "
    "kowalski rossi lopez keller jensen tanaka singh"
).split()
RELATIONS = (
    "mom dad mum wife husband brother sister grandma grandpa boss aunt uncle son daughter neighbor landlord "
    "roommate girlfriend boyfriend cousin coach teacher manager mother father nanny"
).split()
SHOPS = (
    "dentist|doctor|pharmacy|bank|office|hotel|school|vet|garage|plumber|bakery|barber|restaurant|pizzeria|"
    "library|hospital|gym|hairdresser|florist|clinic|post office|taxi company"
).split("|")
PLACES = [
    "train station",
    "airport",
    "park",
    "beach",
    "bus stop",
    "museum",
    "market",
    "stadium",
    "harbor",
    "castle",
    "zoo",
    "cinema",
    "theater",
    "church",
    "bridge",
    "supermarket",
    "gas station",
    "mall",
    "pool",
    "city hall",
    "old town",
    "main square",
    "lake",
    "forest",
    "campus",
    "cafe",
    "subway",
    "hostel",
    "embassy",
    "parking lot",
    "court",
    "trail head",
]
CITIES = (
    "paris london berlin tokyo madrid rome vienna oslo lisbon prague warsaw dublin athens boston chicago "
    "denver seattle austin dallas miami toronto sydney cairo delhi mumbai seoul beijing lagos nairobi zurich "
    "geneva munich hamburg milan porto lyon ghent bergen kyoto lima bogota santiago havana montreal houston "
    "portland atlanta detroit memphis nashville new_york los_angeles san_francisco hong_kong cape_town "
    "buenos_aires stockholm helsinki budapest"
).split()
CITIES = [c.replace("_", " ") for c in CITIES]
GENRES = [
    "jazz",
    "rock",
    "classical music",
    "pop",
    "techno",
    "blues",
    "reggae",
    "country music",
    "metal",
    "folk",
    "hip hop",
    "soul",
    "funk",
    "disco",
    "relaxing music",
    "workout music",
    "my favorites",
    "my playlist",
    "the news",
    "a podcast",
    "piano music",
    "rain sounds",
    "opera",
    "salsa",
    "indie rock",
    "movie soundtracks",
    "latin music",
    "morning mix",
    "running mix",
    "lofi beats",
]
TODO_VERBS = (
    "buy|get|bring|pay|clean|wash|fix|call|water|feed|check|order|return|send|pick up|book|cancel|finish|"
    "read|write|sign|print|pack|charge|email|empty|renew|collect|prepare|cook|walk|visit|find|hide|sell|"
    "measure|paint|repair|update|review|thank|ask|hang up|turn off|throw out|clean up|look for"
).split("|")
NOUNS = (
    "milk bread eggs butter cheese rice coffee tea sugar salt apples bananas flowers plants dog cat car bike "
    "keys wallet phone laptop charger camera passport ticket tickets rent bill bills taxes report letter "
    "package parcel book books homework laundry dishes kitchen bathroom garden window door roof lamp battery "
    "printer shoes jacket coat umbrella glasses watch ring present gift cake pizza salad soup chicken fish "
    "steak wine beer juice water bottle towel blanket pillow bed chair table carpet piano guitar violin drum "
    "ball tent map trash bin oven fridge heater fan filter pills medicine doctor budget invoice contract "
    "presentation slides meeting project exam essay photo photos video movie game river mountain moon sun "
    "star rain snow storm wind fire light shadow heart dream road train boat plane bus summer winter night "
    "morning summary insurance mortgage tyres brakes engine fence mower ladder hammer paint brush rope candle "
    "candles onions garlic tomatoes carrots potatoes pasta flour honey yogurt cereal soap shampoo toothpaste "
    "diapers stroller"
).split()
SYLLABLES = (
    "ba be bi bo ca ce co da de di do du el en er fa fe fi ga ge go ha he hi ho in is ja je jo ka ke ki ko la "
    "le li lo lu ma me mi mo mu na ne ni no nu or os pa pe pi po ra re ri ro ru sa se shi so su ta te ti to "
    "tu ul va ve vi vo wa we wi xa ya yo za ze zi zo an ar bel cor dan dor fen gar han jan kir lan mar mon "
    "nor pol ran ron sam sen tan ton ven wil zan ber lin ster ly ny son th ck"
).split()
# Words that may stand anywhere in a text; none that could be taken for the start of a time, a day or an addressee.
SMALL_WORDS = "the a my some and with for from of about all more this off out up down your our not is are".split()
