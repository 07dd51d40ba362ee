"""Refusals in English: an answer that begins by declining, or by speaking of itself as a machine.

Where an answer begins says whose words they are: a letter that declines, or a text on chatbots, opens otherwise. So
"I cannot provide ..." counts at the very beginning, behind "Unfortunately," and its like too; at the beginning of a
later sentence it counts only where it names the request itself ("... help with that request").
"""

import re

OPENING_CHARACTERS = 300
"""Held against the answer's beginning, where a refusal stands; further on such words are mostly quoted."""

_ADVERBS = (
    r"(?:(?:and will not|and won't|in good conscience|ethically|legally|directly|really|just|simply|currently|also|"
    r"actually|possibly|personally|knowingly|either|therefore|responsibly|be able to|help you|assist you) ){0,3}"
)
_UNABLE = (
    r"i (?:(?:simply|just|really|also|therefore|respectfully|truly|must) ){0,2}"
    rf"(?:(?:can(?:'?t|not)|can not|could not|couldn't|won'?t|will not) {_ADVERBS}"
    rf"|(?:am|was) (?:unable|not able|not allowed|not permitted|not going) to {_ADVERBS}|refuse to |decline to )"
)
_SPEAKER_UNABLE = r"(?:i|we) (?:(?:can(?:'?t|not)|can not|won'?t|will not)|(?:are|am) (?:unable|not able) to) "
_I_AM_UNABLE = rf"(?:{_UNABLE}|i'm (?:unable|not able|not allowed|not permitted|not going) to {_ADVERBS})"
_LEADS = (
    r"^(?:(?:unfortunately|regrettably|sorry|i(?:'m| am) (?:(?:so|very|really|truly) )?(?:sorry|afraid)|"
    r"i apologi[sz]e(?: for [^,.!?\n]{1,60})?|(?:my )?apologies|no|however|i (?:understand|appreciate|see|know|recogni[sz]e|reali[sz]e) [^.!?\n]{1,100}|"
    r"(?:while|although) i [^,.!?\n]{1,100}|thank(?:s| you)[^,.!?\n]{0,60}|as an? [^,.!?\n]{1,40})"
    r"[,.!:;]*\s*(?:(?:but|however|that|and),? )?){0,2}"
)
_ASKED = r"(?:request|question|prompt|query|task|topic|subject|matter|content|kind|type|sort|information|instructions)"
_THIS = (
    rf"(?:this|that|your|the|such|these|those|any)(?: (?:specific|particular|kind of|type of|sort of))? {_ASKED}s?\b"
)
_MATTERS = (
    r"(?:any |specific |personal |detailed |further |an? )?(?:this|that|such|these|those|your|medical|legal|financial|advice|"
    r"instructions|guidance|information|opinions?|content|explicit|harmful|sexual|hateful|illegal)\b"
)
_HELP = r"(?:assist|help(?: you)?) with (?:this|that|it|your|such|these|those|any)\b"
_MACHINE = r"(?:ai|a\.i\.|artificial intelligence|language model|llm|chatbot|virtual assistant)"
_MORE_MACHINE = rf"(?: (?:{_MACHINE}|model|assistant|system|program|bot))*"

_PATTERNS = (
    # at the beginning, whatever is asked for
    rf"{_LEADS}{_I_AM_UNABLE}(?:comply|fulfil+|assist|provide|generate|produce|create|answer|discuss|endorse|promote|"
    r"condone|encourage|facilitate|accommodate|browse|role-?play|engage in|engage with|participate in|continue (?:with|this)|"
    r"help (?:you\b|with\b|to\b|create\b|write\b|make\b|find\b|build\b)|help[.!,;]|support or |write an? |tell you how to |"
    r"share (?:copyrighted|personal|private)\b|verify (?:current|real-time)\b|"
    r"(?:view|see|open|display|show|analy[sz]e) (?:images?|pictures?|photos?|videos?|files?|links?|attachments?|audio|urls?)\b|"
    rf"(?:give|offer|share|support|write|describe|explain|tell you|reveal|respond to|complete|process|talk about) {_MATTERS}|"
    r"recommend (?:any|illegal|harmful|specific)\b|do (?:that|this|so)\b|"
    r"access (?:the internet|real-time|external|live|current|websites?|links?|files?|urls?))",
    rf"{_LEADS}i(?:'m not| am not| (?:do not|don't) feel) comfortable (?:with )?"
    r"(?:writing|creating|generating|providing|discussing|answering|helping|assisting|sharing|engaging|producing|continuing)\b",
    rf"{_LEADS}i(?:'d| would) (?:prefer|rather) not (?:to )?(?:answer|discuss|write|create|provide|engage|respond)\b",
    rf"{_LEADS}i (?:do not|don't) (?:engage in|condone|create|generate|provide|produce|write) {_THIS}",
    # a later sentence that begins with it
    rf"[.!?:] ?{_I_AM_UNABLE}(?:assist with|comply with|help you|provide (?:assistance|instructions|guidance|advice))\b",
    # a firm speaks of itself as "we", so the request must be named, and so must what nobody should be helped with
    rf"{_LEADS}{_SPEAKER_UNABLE}{_HELP} {_ASKED}s?\b",
    rf"{_LEADS}{_I_AM_UNABLE}(?:write|create|make|build|produce|develop|provide) (?:any |an? )?"
    r"(?:malware|ransomware|spyware|keyloggers?|exploits? code|bombs?|explosives|phishing (?:e-?mails?|pages?))(?:[.,;:!]| (?:for|that|or|to|which|code)\b)",
    r"\b(?:it's|it is) (?:simply |just )?(?:not possible|impossible) for me to (?:help|assist|provide|answer|comply|fulfil+|continue)\b",
    # an apology, and nothing behind it
    r"^(?:i(?:'m| am) (?:(?:so|very|really|truly) )?(?:sorry|afraid)|sorry|i apologi[sz]e),? (?:but )?"
    r"i (?:can(?:'?t|not)|won'?t)[.!]",
    # the request is named, wherever a sentence or clause begins
    rf"\b{_I_AM_UNABLE}(?:{_HELP}|(?:comply|engage) with {_THIS}|"
    rf"(?:fulfil+|complete|process|answer|discuss|provide|create|generate|write|respond to|engage in|participate in) {_THIS})",
    r"\bi(?:'m| am) (?:sorry|afraid),? (?:but )?(?:that's|that is|this is) (?:not )?something "
    r"(?:that )?i (?:can(?:'?t|not)?|won'?t)\b",
    r"\b(?:(?:that|this) (?:isn't|is not)|that's not) something "
    r"(?:that )?i(?:'m able to| am able to| can) (?:help|assist|do|provide|discuss)\b",
    r"\bi (?:must|have to|need to|will have to) (?:(?:respectfully |politely )(?:decline|refuse)\b"
    rf"|(?:decline|refuse) (?:to (?:answer|assist|help|provide|write|create|generate|discuss|engage)\b|{_THIS}))",
    r"\bi(?:'m going to| will)? (?:must|have to) decline (?:this|that|your) (?:one|request)\b",
    r"\b(?:not (?:be )?|un|in)(?:appropriate|ethical) for me to\b",
    r"\b(?:request|prompt|question|topic|content|this|that|it)"
    r"(?: violates| conflicts with|(?: goes| is|'s| would be) against) my "
    r"(?:content |usage |safety |ethical )?(?:guidelines|policy|policies|programming|training)\b",
    # it speaks of itself as a machine
    rf"\bi(?:'m| am) [\w-]{{2,15}}, (?:an?|your) (?:[\w-]+ ){{0,2}}{_MACHINE}\b",
    r"\bi(?:'m| am|'ve been) (?:programmed|designed|trained) to be (?:an? )?(?:helpful|harmless|safe|respectful)\b",
    r"(?:^|[.!?:;,\n(*] ?|\b(?:that|but|so|and|because|however|sorry) )"
    rf"as an? (?:[\w-]+ ){{0,2}}{_MACHINE}{_MORE_MACHINE}"
    r"(?: (?:developed|created|trained|designed|made|built) by [\w ]{1,20})?,? (?:i|i'm|i've|i'd|my)\b",
    rf"\bi(?:'m| am) (?:just |only |simply |merely )?an? (?:[\w-]+ ){{0,2}}{_MACHINE}{_MORE_MACHINE}"
    r"(?:[.,;:!]|,? (?:and|so|but|without|that|who|which|with|here|not|developed|created|trained|designed|made|built)\b)",
    r"\bi (?:do not|don't) (?:actually |really )?have (?:(?:personal|any personal|human) "
    r"(?:feelings|emotions|opinions|beliefs|preferences|experiences?)|(?:feelings|emotions|opinions|beliefs|preferences)(?: or\b|[.,]))",
    r"\bi (?:do not|don't) have (?:direct |any )?(?:access to (?:real-time|the internet|live|current|up-to-date)|"
    r"the (?:ability|capability) to (?:browse|access|remember|see|send|open)|real-time)",
    r"\bmy (?:training|knowledge) (?:data )?(?:cut-?off|only goes|only extends)\b",
)
BARE = re.compile(
    r"^(?:i'm sorry,? but )?i (?:must|will have to) (?:respectfully |politely )?decline[.!]?",
    re.IGNORECASE,
)
"""A refusal where it is all that is said."""
_LIMITS = re.compile(
    r"^(?:no,? |unfortunately,? |sorry,? (?:but )?)?i (?:can(?:'?t|not)|won'?t|will not|could not|couldn't) "
    r"(?:provide|give|write|create|produce|generate|make) (?:(?:you )?an? (?:(?:better|clearer|simpler|finer|shorter)\b"
    r"|(?:long|longer|lengthy) (?:essay|answer|list|speech|introduction|text)\b)"
    r"|(?:an? |the )?(?:files?|folders?|director(?:y|ies)) (?:in|on|under|at) (?:this|the|that|your)\b)",
    re.IGNORECASE,
)
"""What an answer says of its own limits, or of a computer's, and then goes on."""
REFUSALS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in _PATTERNS)


def is_refusal(text: str) -> bool:
    """Whether an answer begins by refusing, or by speaking of itself as a machine. English only."""
    opening = text.strip()[:OPENING_CHARACTERS].replace("\u2019", "'")
    opening = _LIMITS.sub("-", opening)
    return BARE.fullmatch(opening) is not None or any(pattern.search(opening) for pattern in REFUSALS)
