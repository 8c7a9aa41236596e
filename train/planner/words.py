"""Vocabulary of the toy planner: nouns, verbs and sentence templates of the synthetic grammar it is trained on.

`HELD_OUT_*` tables are not used for training; they measure the generalization to unseen words and phrasings. `{O}` is a
reference to objects, `{T}` to a target, `{in}` one of IN. The frozen sets at the end are used by `grounding` alone.
"""

from __future__ import annotations

COLORS = tuple(
    "red green blue yellow orange purple pink white black brown grey cyan teal golden silver violet beige".split()
)
NOUNS = tuple(
    "cube ball cup block bottle box can mug duck car brick book pen spoon apple banana sponge screw bolt jar toy "
    "cylinder lego sock".split()
)
"""Common nouns of movable objects."""
RARE_NOUNS = tuple(
    "wrench hammer screwdriver pliers marker pencil eraser stapler scissors tape towel cloth candle lamp phone remote "
    "battery cable charger adapter bracket gear washer nut nail hook clip magnet spring valve pipe hose tube wheel "
    "bearing motor sensor camera lens carrot potato tomato onion pepper lemon lime peach pear grape melon egg "
    "bread bagel cookie cake teapot kettle ladle fork knife whisk spatula glass vase flower plant dice domino puzzle "
    "doll robot train truck boat plane rocket dinosaur bear rabbit soap shampoo brush comb razor letter envelope "
    "stamp folder notebook ruler compass calculator coin wallet key glove hat shoe scarf belt button zipper".split()
)
"""Rare nouns, from which the planner learns to copy a name that it has hardly seen."""
HELD_OUT_NOUNS = tuple(
    "drill thermos pouch walnut ratchet beaker syringe pancake helmet chisel cassette lantern parcel tongs gasket "
    "macaroon harmonica crayon ticket funnel".split()
)
TARGET_NOUNS = tuple(
    "bin bowl tray box shelf basket crate drawer bucket plate container rack cabinet pan pot carton case tub "
    "table cart mat dish".split()
)
SIDES = (
    "left", "right", "middle", "upper", "lower",
)  # fmt: skip

IN = (
    "in", "in", "into", "into", "inside", "on", "onto", "to",
)  # fmt: skip
PUT_VERBS = tuple(
    "put put put put place place place move move drop drop set stow lay bring carry transfer deposit shift park pop "
    "stick throw toss leave store tuck slide get take deliver push load pack insert ship dump keep send".split()
)
HELD_OUT_PUT_VERBS = (
    "relocate", "position", "chuck", "lodge", "convey", "sling", "install", "settle",
)  # fmt: skip
GERUNDS = {
    "put": "putting",
    "set": "setting",
    "drop": "dropping",
    "pop": "popping",
    "get": "getting",
    "grab": "grabbing",
    "transfer": "transferring",
    "ship": "shipping",
    "chuck": "chucking",
}

PUT_IMPERATIVES = (
    "pick up {O} and put {it} {in} {T}", "pick up {O} and place {it} {in} {T}", "pick {O} up and drop {it} {in} {T}",
    "take {O} and put {it} {in} {T}", "take {O} and move {it} {in} {T}", "grab {O} and put {it} {in} {T}",
    "grab {O}, then drop {it} {in} {T}", "lift {O} and put {it} {in} {T}", "lift {O} up and set {it} {in} {T}",
    "get {O} and stow {it} {in} {T}", "grasp {O} and release {it} {in} {T}", "fill {T} with {O}", "load {T} with {O}",
    "move {O} over to {T}", "bring {O} over to {T}", "get {O} {in} {T}", "make {O} end up in {T}",
    "make sure {O} ends up in {T}", "make sure that {O} lands in {T}", "see that {O} gets {in} {T}",
    "use {T} for {O}", "add {O} to {T}", "find {O} and put {it} {in} {T}", "{in} {T} put {O}", "{in} {T}, place {O}",
    "have {O} moved {in} {T}", "lift {O} then put {it} {in} {T}", "pick up {O}, then put {it} {in} {T}",
    "pick up {O}. put {it} {in} {T}", "put away {O} {in} {T}", "put {O} away {in} {T}", "put {O} down {in} {T}",
    "tidy {O} away {in} {T}",
)  # fmt: skip
PUT_STATEMENTS = (
    "{O} goes {in} {T}", "{O} go {in} {T}", "{O} should go {in} {T}", "{O} should be {in} {T}",
    "{O} must go {in} {T}", "{O} has to be in {T}", "{O} belongs in {T}", "{O} needs to go {in} {T}", "{O} to {T}",
    "{O} into {T}", "{O} in {T}", "{O} -> {T}", "{T} gets {O}", "{T} should contain {O}", "{T} is for {O}",
    "{T} needs {O}", "i want {O} {in} {T}", "i'd like {O} {in} {T}", "i would like {O} in {T}", "i need {O} {in} {T}",
    "i want to see {O} in {T}", "we need {O} in {T}", "{O} shall be placed {in} {T}", "{O} should be put {in} {T}",
    "let {O} be in {T}", "{O}: {T}", "can i have {O} in {T}",
)  # fmt: skip
HELD_OUT_PUT_IMPERATIVES = (
    "collect {O} and leave {it} in {T}", "fetch {O} and set {it} down in {T}", "see to it that {O} is in {T}",
    "let {T} have {O}", "ensure {O} sits in {T}", "get hold of {O} and drop {it} off in {T}",
)  # fmt: skip
HELD_OUT_PUT_STATEMENTS = (
    "{T} is where {O} goes", "{O} ought to be in {T}", "the right place for {O} is {T}", "{T} is the home of {O}",
    "{O} lives in {T}", "it would be nice to have {O} in {T}",
)  # fmt: skip
GAPPED = (
    "{O} {in} {T}", "{O} in {T}", "{O} into {T}", "{O} to {T}", "{O} {in} {T}",
)  # fmt: skip
"""Clauses without a verb after a first clause that has one: "put A in B, and [C in D]"."""

LIFT_IMPERATIVES = (
    "lift {O}", "lift {O}", "lift {O} up", "lift up {O}", "pick up {O}", "pick {O} up", "raise {O}", "grab {O}",
    "grasp {O}", "take {O}", "take hold of {O}", "hold {O}", "hold up {O}", "hoist {O}", "pick {O}",
    "get {O} off the table", "raise {O} off the table", "lift {O} off the table", "lift {O} into the air",
    "bring {O} up", "pick up {O} from the table", "raise {O} up", "take {O} up", "grip {O}", "grab hold of {O}",
    "clutch {O}", "keep hold of {O}", "lift {O} and hold {it}", "lift {O} and keep {it} up",
    "pick up {O} and hold {it}",
)  # fmt: skip
LIFT_STATEMENTS = (
    "i want {O} in the air", "i want {O} lifted", "{O} should be lifted", "{O} up", "i want {O} in your hand",
    "{O} should be in your gripper", "i want you holding {O}", "{O} must come up",
)  # fmt: skip
HELD_OUT_LIFT_IMPERATIVES = (
    "hoist up {O}", "elevate {O}", "get a grip on {O}", "take {O} off the table", "seize {O}",
)  # fmt: skip
HAND_IMPERATIVES = (
    "hand over {O}", "hand {O} over", "hand me {O}", "hand {O} to me", "give me {O}", "give {O} to me", "pass me {O}",
    "pass {O} to me", "pass {O} over", "bring me {O}", "bring {O} to me", "hand me over {O}", "give {O} here",
    "get me {O}", "let me have {O}", "fetch me {O}", "hand {O} to the person", "give {O} to the human",
    "hand over {O} to me", "pick up {O} and hand {it} over", "pick up {O} and give {it} to me",
    "take {O} and hand {it} to me", "lift {O} and hand {it} over", "lift {O} and pass {it} to me",
    "hand {O} over to me", "deliver {O} to me",
)  # fmt: skip
HAND_STATEMENTS = (
    "i need {O}", "could i have {O}", "can i get {O}", "may i have {O}", "i want {O}", "i'd like {O}",
    "i would like {O}", "can i have {O}", "i'll take {O}", "{O} is for me",
)  # fmt: skip
HELD_OUT_HAND_IMPERATIVES = (
    "hand {O} across to me",
    "pass over {O}",
    "get {O} over to me",
    "grab {O} for me and hand {it} over",
)

WRAPPERS = (
    "please {X}", "please {X}", "{X} please", "{X}, please", "could you {X}", "could you please {X}", "can you {X}",
    "can you {X}?", "can you please {X}?", "would you {X}", "would you please {X}?", "robot, {X}", "hey robot, {X}",
    "hey, {X}", "i want you to {X}", "i need you to {X}", "i'd like you to {X}", "i would like you to {X}",
    "go ahead and {X}", "now {X}", "just {X}", "your job is to {X}", "let's {X}", "kindly {X}", "{X} for me",
    "{X}, thanks", "{X} thank you", "try to {X}", "you should {X}", "you must {X}", "we need to {X}", "ok, {X}",
    "okay now {X}", "task: {X}", "go and {X}", "will you {X}", "next, {X}", "you have to {X}", "{X} now",
    "{X} if you can", "time to {X}", "the plan is to {X}", "please, {X}",
)  # fmt: skip
HELD_OUT_WRAPPERS = (
    "be so kind as to {X}", "do me a favour and {X}", "your task is to {X}", "{X} when you get a chance",
    "i was hoping you could {X}", "how about you {X}", "listen, {X}", "what i need is for you to {X}",
)  # fmt: skip
FILLERS = tuple("gently carefully quickly slowly softly neatly directly safely simply straight right".split())

FORWARD = (
    ", then {B}", ", then {B}", " then {B}", " and then {B}", ", and then {B}", ". then {B}", " and {B}", " and {B}",
    ", and {B}", "; {B}", ". {B}", ", {B}", ". after that, {B}", ", after that {B}", " and after that {B}",
    ". next, {B}", ", next {B}", ". afterwards {B}", ", afterwards {B}", " and afterwards {B}",
    ", followed by {B:ger}", " before {B:ger}", " before you {B}", ", before {B:ger}", ". when that is done, {B}",
    ". once done, {B}", ". when you are done, {B}", " and also {B}", ", also {B}", ", plus {B}", ". also {B}",
    "; then {B}", ", once that is done, {B}", ". now {B}", " and next {B}", ". subsequently {B}",
    ", and after you did that, {B}", ". and then {B}",
)  # fmt: skip
"""Connectors of A, then B, in that order."""
LAST = (
    ", finally {B}", " and finally {B}", ". finally, {B}", ", and lastly {B}", " and last {B}", ". at the end {B}",
)  # fmt: skip
HELD_OUT_FORWARD = (
    ", thereafter {B}", ". with that out of the way, {B}", ", whereupon you {B}", ". having done that, {B}",
    ". later {B}",
)  # fmt: skip
PAIRS = (
    "first {A}, then {B}", "first {A} and then {B}", "first, {A}. then, {B}", "first {A}, second {B}",
    "firstly {A}, secondly {B}", "start with {A:ger}, then {B}", "start by {A:ger}, then {B}",
    "begin by {A:ger} and then {B}", "1. {A} 2. {B}", "1) {A} 2) {B}", "1. {A}. 2. {B}.", "step 1: {A}. step 2: {B}",
    "{A} first, then {B}", "{A} first and {B} after that", "first {A}; next {B}", "after {A:ger}, {B}",
    "after you {A}, {B}", "once {A:state}, {B}", "as soon as {A:state}, {B}", "when {A:state}, {B}",
    "when {A:state} then {B}", "after {A:ger} {B}", "once {A:state} {B}", "{A}, and when {A:state}, {B}",
)  # fmt: skip
"""Frames of A, then B, in that order."""
REVERSED = (
    "before {B:ger}, {A}", "before you {B}, {A}", "before {B:ger} {A}", "{B}, but before that {A}",
    "{B}. before that, {A}", "{B}, but first {A}", "{B}, but {A} first", "{B} after {A:ger}", "{B} after you {A}",
    "{B} once {A:state}", "{B} when {A:state}", "{B} as soon as {A:state}", "{B}, but only after {A:ger}",
    "{B} only after {A:ger}", "{B}; before that {A}", "finish with {B:ger}; start with {A:ger}",
    "end by {B:ger} but begin by {A:ger}", "{B}, after {A:ger}", "{B}. but first {A}", "{B}. do this after {A:ger}",
    "{B} last, {A} first", "{B} second and {A} first", "{B} but before {A}",
)  # fmt: skip
"""Frames of A, then B, in which B comes first."""
HELD_OUT_PAIRS = (
    "to begin with {A}, then {B}", "{A} first of all and {B} second", "the moment {A:state}, {B}", "a) {A} b) {B}",
)  # fmt: skip
HELD_OUT_REVERSED = (
    "prior to {B:ger}, {A}",
    "{B}, having first done this: {A}",
    "{B} right after {A:ger}",
    "{B}, but not before {A:ger}",
)

AVOID = (
    ", but leave {X} alone", ". don't touch {X}", ". do not move {X}", ", not {X}", ". leave {X} where it is",
    ". ignore {X}", ", but not {X}", ". keep {X} where it is", " and leave {X} alone", " without touching {X}",
    ". never touch {X}",
)  # fmt: skip
AVOID_FIRST = (
    "don't touch {X}. {A}", "leave {X} alone and {A}", "ignore {X}, {A}", "do not move {X} but {A}",
    "without moving {X}, {A}",
)  # fmt: skip
CORRECTIONS = (
    "{X}, no, {O}", "{X}, i mean {O},", "{X}, sorry, {O}", "{X}, no wait, {O}", "{X} - no, {O} -", "not {X} but {O}",
)  # fmt: skip

QUALITIES = frozenset((*COLORS, "gray", "gold", "magenta", "crimson", "navy", "maroon", "turquoise", "indigo"))
"""Words that distinguish objects."""
AMBIGUOUS_NOUNS = frozenset(("orange", "toy", "can", "table", "cart", "robot"))
"""Nouns with another meaning in ordinary sentences ("can you", "off the table")."""
KNOWN_NOUNS = frozenset((*NOUNS, *RARE_NOUNS, *HELD_OUT_NOUNS, *TARGET_NOUNS)) - AMBIGUOUS_NOUNS
"""Nouns that are looked for in an instruction."""
PLACEHOLDERS = frozenset(
    ("one", "ones", "thing", "things", "object", "objects", "item", "items", "coloured", "colored", "colour")
)
"""Words that may follow a quality instead of a noun."""
PRONOUNS = (
    r"\b(it|them|one|ones|thing|things|object|objects|item|items|everything|all|every|each|both|other|others|rest|remaining|"
    r"last|this|that|these|those|what|whatever|lot|hold|holding|hand|gripper|three|two|any|stuff)\b"
)
"""Pattern of words that refer to an object without naming it."""
EXCEPTIONS = (
    r"\b(not|don't|dont|never|except|but|without|leave|ignore|keep|apart|besides|excluding|other than|no|i mean|sorry|"
    r"alone)\b"
)
"""Pattern of words after which a named object may stay where it is."""
NOT_NAMES = frozenset(
    "hand other others rest same remaining last lot first second third two three air robot gripper person human place "
    "one ones end order following next time thing things object objects item items coloured colour color ground floor "
    "way both only work whole toy can cart orange so when while now".split()
)
"""Words that may follow an article without naming an object."""
