#include "jobs/provider/word_weight.h"

#include <stdlib.h>

#include "common/base/auto.h"
#include "common/words.h"

#define STOP_WEIGHT 0.1F
#define COMMON_WEIGHT 0.35F
#define FREQUENT_WEIGHT 0.7F

/* Folded and sorted; general English and the prose of reports, written down without looking at any
 * collection that we measure with. */
/* clang-format off */
static const char *const common_words[] = {
	"able", "according", "account", "across", "actually", "add", "almost", "alone", "along",
	"already", "although", "always", "among", "amount", "another", "answer", "anyone",
	"anything", "apart", "appear", "area", "around", "ask", "available", "away", "back",
	"base", "based", "become", "begin", "best", "better", "big", "bring", "call", "called",
	"came", "case", "cases", "certain", "change", "clear", "close", "come", "common",
	"complete", "consider", "considered", "contain", "continue", "course", "current", "day",
	"days", "deal", "describe", "described", "despite", "detail", "details", "develop",
	"different", "difficult", "discuss", "discussed", "either", "else", "end", "enough",
	"especially", "even", "ever", "every", "everything", "example", "examples", "exist",
	"explain", "fact", "far", "feel", "find", "first", "five", "follow", "following",
	"found", "four", "full", "general", "generally", "given", "go", "good", "great", "group",
	"hand", "happen", "hard", "help", "high", "however", "idea", "important", "include",
	"included", "including", "increase", "instead", "involve", "keep", "kind", "know",
	"known", "large", "last", "late", "later", "lead", "least", "leave", "less", "let",
	"level", "like", "likely", "line", "list", "little", "live", "long", "look", "lot",
	"low", "made", "main", "make", "makes", "making", "man", "many", "mean", "means",
	"mention", "method", "methods", "might", "move", "much", "name", "necessary", "need",
	"needed", "never", "new", "next", "none", "nothing", "number", "numbers", "obtain",
	"obtained", "occur", "often", "old", "one", "ones", "open", "order", "others", "part",
	"particular", "particularly", "parts", "people", "per", "perhaps", "place", "point",
	"points", "possible", "present", "presented", "probably", "problem", "problems",
	"provide", "provided", "put", "question", "questions", "quite", "rather", "reach",
	"read", "real", "really", "reason", "recent", "related", "relation", "report", "require",
	"required", "result", "results", "right", "said", "say", "second", "see", "seem", "seen",
	"set", "several", "show", "showed", "shown", "shows", "similar", "simple", "since",
	"single", "situation", "small", "someone", "something", "sometimes", "start", "state",
	"still", "study", "subject", "suggest", "sure", "system", "table", "take", "taken",
	"tell", "term", "terms", "thing", "things", "think", "third", "though", "thought",
	"three", "thus", "time", "times", "today", "together", "took", "toward", "towards",
	"true", "try", "turn", "two", "type", "types", "understand", "unless", "use", "used",
	"useful", "using", "usual", "usually", "value", "values", "various", "view", "want",
	"way", "ways", "well", "went", "whether", "whole", "wide", "within", "without", "word",
	"words", "work", "world", "year", "years", "yes", "yet",
};

static const char *const frequent_words[] = {
	"above", "accept", "achieve", "act", "action", "activity", "actual", "addition",
	"additional", "address", "advance", "affect", "age", "agree", "aim", "air", "allow",
	"analysis", "analyze", "applied", "apply", "approach", "appropriate", "approximately",
	"argue", "arise", "article", "aspect", "aspects", "assume", "assumed", "assumption",
	"attempt", "attention", "author", "authors", "average", "avoid", "aware", "basic",
	"basis", "behavior", "behind", "belief", "believe", "beyond", "body", "book", "both",
	"brief", "broad", "build", "building", "built", "business", "calculate", "calculated",
	"care", "carried", "carry", "cause", "center", "central", "century", "chance", "chapter",
	"characteristics", "check", "choice", "choose", "city", "class", "closely", "collect",
	"collected", "combination", "combine", "community", "company", "compare", "compared",
	"comparison", "concept", "concern", "concerned", "concerning", "conclusion",
	"conclusions", "condition", "conditions", "conduct", "conducted", "consequence",
	"consist", "constant", "context", "contrast", "contribution", "control", "correct",
	"corresponding", "cost", "country", "create", "criterion", "critical", "data", "date",
	"decide", "decision", "decrease", "deep", "define", "defined", "definition", "degree",
	"depend", "dependent", "depends", "derive", "derived", "design", "desire", "determine",
	"determined", "development", "difference", "differences", "direct", "direction",
	"directly", "distance", "distribution", "divide", "document", "early", "easily", "easy",
	"effect", "effective", "effects", "effort", "element", "elements", "employed", "entire",
	"equal", "error", "essential", "establish", "estimate", "evaluate", "evaluation",
	"event", "evidence", "exact", "examine", "examined", "except", "expect", "expected",
	"experience", "experiment", "experimental", "experiments", "express", "extend", "extent",
	"factor", "factors", "fail", "fall", "family", "feature", "few", "field", "fields",
	"figure", "figures", "final", "finally", "fine", "force", "form", "formed", "forms",
	"formula", "free", "frequently", "function", "functions", "further", "future", "gain",
	"gave", "get", "government", "greater", "growth", "half", "head", "hence", "higher",
	"history", "hold", "home", "hope", "house", "human", "identify", "illustrate",
	"immediately", "importance", "improve", "indicate", "indicated", "individual",
	"influence", "information", "initial", "interest", "international", "introduce",
	"introduction", "investigate", "investigated", "investigation", "involved", "issue",
	"issues", "job", "join", "knowledge", "lack", "language", "larger", "law", "laws",
	"learn", "left", "length", "letter", "life", "light", "limit", "limited", "local",
	"longer", "loss", "lower", "major", "manner", "mark", "material", "matter", "maximum",
	"measure", "measured", "measurement", "measurements", "meet", "member", "members",
	"minimum", "minor", "model", "models", "modern", "money", "month", "moreover",
	"movement", "national", "natural", "nature", "nearly", "normal", "note", "noted",
	"object", "observe", "observed", "obvious", "offer", "office", "operation", "opinion",
	"original", "outside", "own", "page", "paper", "papers", "past", "pattern",
	"performance", "period", "person", "personal", "phase", "phenomena", "physical", "plan",
	"plane", "play", "political", "position", "power", "practical", "practice", "predict",
	"predicted", "presence", "pressure", "previous", "previously", "primary", "principle",
	"private", "procedure", "procedures", "process", "processes", "produce", "produced",
	"product", "program", "project", "propose", "proposed", "public", "publication",
	"published", "purpose", "quality", "range", "rapid", "rate", "rates", "ratio", "reader",
	"recently", "record", "reduce", "reduced", "reference", "references", "regard", "region",
	"relative", "relatively", "relevant", "remain", "remove", "repeat", "represent",
	"request", "research", "respect", "respectively", "response", "rest", "return", "review",
	"role", "rule", "run", "same", "sample", "scale", "school", "science", "scientific",
	"section", "select", "selected", "sense", "separate", "series", "serve", "service",
	"services", "shape", "short", "side", "sign", "significant", "simply", "site", "size",
	"social", "society", "solution", "solutions", "solve", "source", "sources", "space",
	"special", "specific", "speed", "stage", "standard", "statement", "step", "stop",
	"structure", "student", "success", "successful", "sufficient", "suitable", "supply",
	"support", "surface", "survey", "task", "technical", "technique", "techniques",
	"technology", "test", "tested", "tests", "text", "theoretical", "theories", "theory",
	"title", "top", "total", "treat", "treated", "treatment", "trend", "typical", "uniform",
	"unit", "university", "upper", "usage", "user", "users", "variable", "variation",
	"variations", "variety", "vary", "volume", "wall", "war", "water", "week", "white",
	"widely", "woman", "write", "writing", "written", "wrong", "young",
};
/* clang-format on */

static int
compare(const void *key, const void *row)
{
	return str_cmp(*(const struct str *)key, str_of(*(const char *const *)row));
}

#define HAS(list, word) bsearch(&(word), (list), ARRAY_SIZE(list), sizeof((list)[0]), compare)

float
word_weight(struct str word)
{
	if (words_is_stop(word))
		return STOP_WEIGHT;
	if (HAS(common_words, word))
		return COMMON_WEIGHT;
	return HAS(frequent_words, word) ? FREQUENT_WEIGHT : 1.0F;
}
