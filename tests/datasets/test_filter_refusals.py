"""Refusals are known by how an answer begins; texts about refusing, and letters that decline, stay."""

import json
import time
from pathlib import Path

import pytest
from filter_rows import dropped, keeps, row_of

from stillhouse.datasets.filters.refusals import is_refusal

PAIRS = Path(__file__).parents[3] / "shared/data/hammerstein-pairs"

REFUSALS = [
    "I'm sorry, but I can't fulfill that request.",
    "I'm really sorry, but I cannot help you with that.",
    "I can't comply with that.",
    "I cannot provide guidance on hacking into someone's account.",
    "I'm sorry, I cannot generate inappropriate content.",
    "I apologize, but as an AI language model I cannot express opinions.",
    "It is not appropriate for me to provide that information.",
    "I'm not able to help with creating malware.",
    "I don't feel comfortable writing that.",
    "I must decline this request.",
    "Sorry, I'm not able to do that.",
    "Unfortunately, I'm unable to assist with that.",
    "I can't support or promote violence.",
    "I cannot write a story that sexualizes minors.",
    "I can't engage in conversations about self-harm methods.",
    "I will not help you build a weapon.",
    "I won't help with that.",
    "I'm sorry, but I won't be able to assist with that.",
    "As a responsible AI, I can't provide that.",
    "I'm Claude, an AI assistant made by Anthropic, and I can't do that.",
    "I'm ChatGPT, a language model, so I have no opinion.",
    "I am programmed to be a helpful and harmless AI assistant.",
    "I'm designed to be helpful, and I can't provide that.",
    "This request violates my guidelines.",
    "I can't share copyrighted lyrics in full.",
    "I do not have the capability to open links.",
    "I'm unable to view images.",
    "I cannot verify current events, as my knowledge cutoff is 2023.",
    "I can't talk about that.",
    "Let me be clear: I cannot assist with illegal activity.",
    "I strongly advise against this. I can't help you hurt someone.",
    "I can't give specific medical advice, but here is general information.",
    "Your request involves illegal activity, so I cannot help with it.",
    "I cannot tell you how to make a bomb.",
    "I'm going to have to decline this one.",
    "That's not something I can help with.",
    "I can't create that image.",
    "I do not engage in that type of content.",
    "I cannot condone that.",
    "I'd prefer not to answer that.",
    "I cannot fulfill your request.",
    "I can't provide instructions for making explosives.",
    "I cannot create content that promotes hatred.",
    "Unfortunately, I cannot provide medical advice.",
    "I can't generate explicit content.",
    "I won't write that.",
    "I cannot and will not provide this.",
    "I'm sorry, but I cannot assist.",
    "I can\u2019t do that.",
    "I'm not comfortable writing this.",
    "I cannot fulfill this request.",
    "I can't help with that.",
    "I can't assist with that",
    "I'm unable to help with this request",
    "I\u2019m sorry, I can\u2019t help with that.",
    "Sorry, but I'm unable to assist",
    "As a large language model, I",
    "I am not able to browse",
    "I apologize, but I cannot provide instructions on how to pick a lock.",
    "I'm sorry, but I can't.",
    "I understand that you are upset, but I can't help you with this.",
    "Thank you for asking, but I cannot answer that question.",
    "While I understand the curiosity, I cannot discuss that topic.",
    "I'm afraid I can't help with that.",
    "I will not write content that demeans a group.",
    "I refuse to answer that.",
    "As an AI assistant, I don't have access to your files.",
    "I'm an AI language model and do not have a body.",
    "I don't have feelings or emotions.",
    "I don't have access to real-time data.",
    "I must decline to answer this question.",
    "That goes against my guidelines.",
    "Hello! This topic is sensitive. I cannot comply with this request.",
    "I'm not able to provide that information.",
    "I cannot in good conscience write this.",
    "I am unable to generate images.",
    "I\u2019m sorry, but that's not something I can help with.",
    "My knowledge cutoff is in 2023, so I cannot say.",
    "As an AI developed by Acme, I can't share that.",
    "I'm not going to help with that.",
    "I can't share personal information about private people.",
    "I won't be able to help with that request.",
    "I cannot engage in discussions that sexualize minors.",
    "I cannot recommend illegal methods.",
    "No, I won't do that.",
]
ANSWERS = [
    "I can't believe it is already autumn.",
    "I cannot stress enough that the backup comes first.",
    "I won't repeat the whole argument here; the short form follows.",
    "I'm sorry for your loss.",
    "Sorry to hear that; here are three steps.",
    "Unfortunately, the plan cannot work as written.",
    "Unfortunately, no vendor can provide this at the price.",
    "As an AI model card shows, the data is from 2022.",
    "As an assistant manager, I would keep a log.",
    "I would refuse the second clause and accept the first.",
    "I need to refuse.",
    "I have to decline politely, the memo says, because the budget is spent.",
    "A chatbot is a simple program.",
    "I am a simple man.",
    "No, I can't see why it would fail.",
    "However, I cannot find the error in line 4.",
    "I understand your plan, but the budget cannot carry it.",
    "I know that the team can't help, but the supplier can.",
    "The model cannot discuss prices with that customer.",
    "I can provide that information in a table.",
    "I do not have a strong opinion on tabs.",
    "I don't have access to the building after six, so ask the porter.",
    "I can't make that claim stronger than the data allows.",
    "I can't do it alone: the song's first line.",
    "I'm unable to find a counterexample.",
    "I'm not able to reproduce the error on Linux.",
    "My knowledge of Latin is small, yet the ablative is plain here.",
    "I will not say the plan is dead; I say it is late.",
    "Dear hiring manager, I'm sorry, but I can't accept the offer.",
    '"I can\'t help you," said the miller.',
    "I created an AI that plays chess.",
    "Talk to it as if it were a person, not as an AI, my friend.",
    "I'm afraid the deadline is lost.",
    "I cannot access the server since the key changed; run ssh-add.",
    "I refuse to believe that the mill is empty.",
    "I can't complete the puzzle without the corner piece.",
    "I'm comfortable writing Rust.",
    "This violates our policy, the clerk wrote.",
    "It goes against my principles to waste bread.",
    "As an AI engineer, you will need linear algebra.",
    "GPT-4 was released as a large language model in 2023.",
    "Deploy it as a simple chatbot on your site.",
    "You could market it as an AI assistant.",
    "Sorry, I can't make it to dinner on Friday. Could we move it?",
    "I need to refuse the counteroffer politely: here is a draft.",
    "Position yourself as an AI startup, not a consultancy.",
    "Subject: Friday\n\nI'm sorry, but I can't attend the meeting.",
    "The city cannot answer this. I have to decline the offer, she wrote.",
    "Treat the old charter as a living document; I won't discuss this further.",
    "I can't help but admire the old mill.",
    "I can't write about my father without the smell of diesel.",
    "I am an AI researcher at a small lab.",
    "I'm a chatbot developer by trade.",
    "I don't have feelings for him any more, she said.",
    "I can't explain it, but the house hums.",
    "I won't lie: the plan is weak.",
    "I can't recommend this book enough.",
    "I cannot make the numbers agree; check row 12.",
    "Dear Ms Roe,\n\nUnfortunately, I cannot provide a reference at this time.",
    "As an AI product, it must be tested.",
    "I'm not able to attend on Monday, so let us meet on Tuesday.",
    "I can't tell whether the bridge holds.",
    "I cannot overstate how much this matters.",
    "I can't offer more than $500 for the bike.",
    "Here is a refusal letter: I regret that I must decline your invitation.",
    "I have to decline the noun first: mensa, mensae.",
    "An AI assistant is a program that answers questions.",
    "You are right, I cannot see a flaw in the plan.",
    "I'm sorry I was late; the train stood still.",
    "I can't give you a firm date yet, but the parts ship on Monday.",
    "Call it as a chatbot, I mean as a function.",
    "I can't find help with this part of the manual, the customer wrote.",
    "I couldn't help noticing the third step is missing.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_are_dropped(text):
    assert is_refusal(text)
    for answer in (text, f"\n {text}\n\nIs there anything else?", text.upper(), text.replace("'", "\u2019")):
        assert not keeps({"no_refusals": True}, row_of(answer))


@pytest.mark.parametrize("text", ANSWERS)
def test_answers_that_speak_of_it_are_kept(text):
    assert not is_refusal(text)
    assert keeps({"no_refusals": True}, row_of(text))


def test_the_shared_pairs_hold_none():
    if not PAIRS.is_dir():
        pytest.skip("../shared/data is not here")
    rows = [json.loads(line) for file in sorted(PAIRS.glob("*.jsonl")) for line in file.read_text("utf-8").splitlines()]
    assert len(rows) == 522
    paragraphs = [one for row in rows for one in row["response"].split("\n")]
    assert dropped({"no_refusals": True}, [row["response"] for row in rows]) == []
    assert dropped({"no_refusals": True}, paragraphs) == []


@pytest.mark.parametrize(
    "text", ["i understand " * 40, "sorry " * 60, "I cannot and will not " * 20, "as an a a ai, " * 30]
)
def test_no_opening_takes_long(text):
    started = time.process_time()
    for _ in range(20):
        is_refusal(text)
    assert time.process_time() - started < 1
