"""How mails speak of themselves, and of their author's absence: a table by language for `automatic`.

*Standards:* none; sentences as mail systems and people's out-of-office assistants write them.
Each pattern is matched at the beginning of a sentence in lower case and NFKC.
"""

import re

# "This is an automatic reply": a sentence of the author's own text that begins so. No person says it of a mail.
DECLARED: dict[str, re.Pattern[str]] = {
    "en": re.compile(
        r"(?:this(?: (?:e-?mail|mail|message|notice|notification|response|reply|receipt|note))?"
        r" (?:is|was|has been|comes as)(?: just| only| simply)?(?: an?| the)?[a-z ,-]{0,25}?"
        r"|(?:i (?:apologi[sz]e|am sorry) for|you (?:are receiving|have received|received)"
        r"|thank you for reading) this )"
        r"(?:auto(?:mated|matic)?[ -]?(?:reply|response|answer|responder|message|e-?mail|mail|notification|notice"
        r"|acknowledge?ment|confirmation|out|vacation|delivery|reminder|receipt|bounce|generated)"
        r"|automatically[ -](?:generated|sent|created|produced|issued|replied)|(?:computer|system"
        r"|machine)[ -]generated"
        r"|(?:generated|sent|created|produced|issued)(?: out)? (?:automatically|by (?:an? |the |our )?(?:automat"
        r"|computer|system|robot|script)))"
        r"|(?:an )?auto(?:matically|mated|matic)?[ -]?(?:generated)? ?(?:e-?mail|message|reply|response)"
        r"(?:,? (?:please|do not|no reply|-)|$)|please (?:do not|don't) (?:reply|respond) to (?:this|an?) "
        r"(?:auto|system|computer)|(?:this|the) (?:mailbox|inbox|e-?mail address|account|address|e-?mail account)"
        r" is (?:not|un|no longer)[ -]?(?:being )?(?:monitored|attended|read|checked)"
        r"|this e-?mail was sent from (?:an?"
        r" )?(?:unmonitored|unattended|notification-only|send-only|no-?reply)|i am an? (?:auto|robot|bot)"
    ),
    "de": re.compile(
        r"(?:dies(?:e|es|er)?|bei dieser|hierbei|es handelt|das ist|sie erhalten (?:hier)?)[^.!?]{0,70}?"
        r"(?:automatisch(?:e[nrs]?)? (?:generiert|erstellt|erzeugt|versandt|versendet|verschickt|gesendet|antwort|"
        r"nachricht|e-?mail|mail|abwesenheit|benachrichtigung|eingangs|rückantwort|mitteilung)|autoreply"
        r"|autoresponder)"
        r"|automatisch (?:generierte|erstellte|erzeugte) (?:e-?mail|mail|nachricht|antwort)|automatische (?:antwort"
        r"|nachricht)$"
    ),
    "fr": re.compile(
        r"(?:ceci est|cet?(?:te)? (?:e-?mail|mail|message|courriel|réponse)|il s'agit d|vous recevez)[^.!?]{0,60}?"
        r"(?:(?:réponse|message|e-?mail|mail|courriel|envoi|notification|accusé) automatique"
        r"|automatiquement (?:généré|envoyé|émis)"
        r"|(?:généré|envoyé|créé|transmis|émis|expédié)e? (?:de manière |de façon )?automatique|automatique\b)"
        r"|(?:réponse|message) automatique$"
    ),
    "es": re.compile(
        r"est[eao][^.!?]{0,50}?(?:(?:respuesta|mensaje|correo|e-?mail|notificación) (?:electrónico )?(?:es "
        r"|fue )?(?:generad[oa] )?"
        r"autom[áa]tic|(?:generad|enviad|cread|emitid)[oa] (?:de forma |de manera )?autom[áa]tic|autom[áa]ticamente)"
        r"|(?:respuesta|mensaje) autom[áa]tic[oa]$"
    ),
    "it": re.compile(
        r"(?:quest[oa]|il presente|la presente|si tratta di)[^.!?]{0,50}?(?:(?:risposta|messaggio|e-?mail|mail"
        r"|notifica)"
        r" (?:è )?(?:stat[oa] )?(?:generat[oa] )?automatic|(?:generat|inviat|creat)[oa] (?:in modo )?automatic"
        r"|automaticamente (?:generat|inviat))|(?:risposta|messaggio) automatic[oa]$"
    ),
    "pt": re.compile(
        r"(?:est[ea]|ess[ea]|isto)[^.!?]{0,50}?(?:(?:resposta|mensagem|e-?mail|notificação) (?:é |foi )?(?:gerad[oa] "
        r"|enviad[oa] )?"
        r"autom[áa]tic|(?:gerad|enviad|criad)[oa] (?:de forma )?autom[áa]tic|automaticamente (?:gerad|enviad))"
        r"|(?:resposta|mensagem) automática$"
    ),
    "nl": re.compile(
        r"(?:dit|deze|u ontvangt)[^.!?]{0,50}?(?:automatisch(?:e)? (?:gegenereerd|verzonden|verstuurd|aangemaakt"
        r"|antwoord"
        r"|bericht|e-?mail|mail|reactie|opgemaakt|verstuurde)|geautomatiseerd)|automatisch (?:antwoord|bericht)$"
    ),
    "scandinavian": re.compile(
        r"(?:dett[ae]|det här|denn[ae]|þetta)[^.!?]{0,40}?(?:automatisk(?:t)? (?:svar|meddelande|besked|melding|mail"
        r"|e-post"
        r"|genererat|genereret|generert|skickat|sendt|utskick|meddelelse|utsendt)|autosvar|autogenerer|automatgenerer)"
        r"|tämä[^.!?]{0,30}?automaatti|see on automaat"
    ),
    "slavic": re.compile(
        r"(?:to jest|ta wiadomość|niniejsz[aey]|wiadomość|toto je|tato (?:zpráva|odpověď)|tento e-?mail|táto správa"
        r"|ovo je"
        r"|to je)[^.!?]{0,50}?(?:automatyczn(?:a|ie|y) (?:odpowied|wiadomo|wygenerowan|wysłan|mail|e-?mail|komunikat)"
        r"|automatick[áýéy] (?:odpov|zpráv|správ|vygenerov|generov|odesl|zasl|e-?mail)|vygenerov[^.!?]{0,20}automatick"
        r"|wygenerowan[ay] automatycznie|automatski odgovor|automatska poruka)"
    ),
    "russian": re.compile(
        r"(?:это|данное|настоящее|вы получили|це|цей|цe|това е)[^.!?]{0,50}?(?:автоматическ(?:ий|ое|и) (?:ответ"
        r"|сообщение"
        r"|уведомление|письмо|сгенерирован|отправлен|сформирован|создан)|автоответ|автоматичн[ае] (?:відповідь"
        r"|повідомлення)"
        r"|(?:сгенерировано|отправлено|сформировано|создано) автоматически|автоматичен отговор)"
    ),
    "other european": re.compile(
        r"ez[^.!?]{0,40}?automatikus(?:an)? (?:válasz|üzenet|generált|küldött|levél)"
        r"|acest[^.!?]{0,40}?(?:răspuns automat"
        r"|mesaj automat|generat automat|trimis automat)|bu [^.!?]{0,40}?otomatik (?:olarak|yanıt|cevap|mesaj|bir)"
        r"|αυτ[όή] [^.!?]{0,30}?αυτόματ|aquest[^.!?]{0,40}?automàtic|tai automatin|šī ir automātisk"
    ),
    "zh": re.compile(
        r"(?:[此本這这該该](?:是|為|为|係|乃|由|系統|系统|電子|电子|[一]?[封則则條条個个]|信|函|郵件|邮件|電郵|电邮"
        r"|e-?mail|mail|訊息"
        r"|讯息|消息|通知|簡訊|回[覆復复信])(?:(?!收到|[你您][們们]|[貴贵][公司]|功能|請問|请问)[^,。?]){0,24}?)"
        r"(?:自[動动](?:回[覆復复信函應应]|[發发]送|傳送|传送|寄[發发出送]|[發发]出|[產产]生|生成|通知"
        r"|[應应答][答复覆]|[發发]信|派[發发]|推送|郵件|邮件|回應)"
        r"|(?:系[統统]|電腦|电脑)(?:[發发]送|[產产]生|生成|[發发]出|通知|寄[發发出送]|代[發发]))(?!功能|系[統统]"
        r"|機器人|机器人|嗎|吗|設定|设置)"
        r"|(?:由|經)?(?:本?系[統统])?自[動动](?:回[覆復复信應]|答[复覆]|[發发][送出信]|傳送|寄[發出送])(?:的"
        r"|之)?(?:信件?|函|郵件|邮件|訊息|消息|通知)?$"
        r"|系[統统]自[動动](?:回[覆復复信]|[發发][送出]|寄[發出送]|產生)(?:的|之)?(?:信件?|函|郵件|邮件|訊息|消息"
        r"|通知)?"
        r"(?: |,|-|請勿|请勿|請不要|请不要|切勿)"
        r"|(?:这|這)是(?:来自|來自)[^,。]{0,30}自[動动]回[覆复]|[此本](?:信箱|郵箱|邮箱|地址)(?:僅|仅|只)?(?:供|為|为"
        r"|用於|用于)?(?:系[統统])?[發发](?:信|送|件)(?:專用|专用|使用)"
    ),
    "ja": re.compile(
        r"(?:この|本|こちらの|当|このたびの|これ)(?:メール|メッセージ|通知|e-?mail|は|ご連絡|返信)(?:(?!ですか"
        r"|でしょうか|機能)[^。?]){0,40}?"
        r"(?:自動(?:的に)?(?:返信|送信|配信|応答|送付|生成|で)|送信専用|配信専用)(?!機能|ですか|でしょうか|を(?:停止"
        r"|設定))"
        r"|(?:システム(?:より|から|による)の?)?自動(?:返信|送信|配信|応答)(?:メール|メッセージ|で|に|専用)?(?:です"
        r"|しており|にて|となり|いたし|されて|$)"
    ),
    "ko": re.compile(r"(?:이|본) ?(?:메일|메시지|이메일|메일주소)[은는이]?[^.!?]{0,40}?(?:자동|발신 ?전용)"),
    "southeast asian": re.compile(
        r"(?:đây là|email này|thư này|tin nhắn này)[^.!?]{0,50}?tự động|(?:ini (?:adalah|merupakan)|e-?mail ini"
        r"|pesan ini"
        r"|mesej ini)[^.!?]{0,50}?(?:otomatis|automatik)|(?:นี่คือ|นี่เป็น|อีเมลนี้|ข้อความนี้)[^.!?]{0,40}?อัตโนมัติ"
    ),
}

# "This is not an automatic reply": negated, or counted among those somebody got.
DENIED = re.compile(
    r"(?:not|n't|never|second|third|fourth|another|your|keine?|nicht|n'est pas|pas|no es|non è|não é|geen|niet|inte"
    r"|ikke|nie|není|не)\b[a-z ]{0,6}auto|\bне авто|(?:不是|並非|并非)[^。]{0,8}自|では(?:ありません|ない)"
)

# What stands before a sentence, and is none of it.
LABEL = re.compile(
    r"(?:note|please note|nb|n\.b|注意?|註|附註|备注|備註|附注|hinweis|remarque|nota|提醒|説明|auto)\s?:\s*"
)
GREETING = re.compile(
    r"(?:hi|hello|dear [a-z ]{1,30}|good (?:morning|day|afternoon)|greetings|hallo|guten tag|bonjour"
    r"|hola|ciao|buongiorno|olá|hej|[^,.]{0,12}(?:您好|你好)|sehr geehrte[^,]{0,40}"
    r"|親愛的[^,:]{1,12}|尊敬的[^,:]{1,12})\s*[,!:~]?\s*(?:-\s*)?"
)
# Behind a line that ends so stands what the author was sent.
CITES = re.compile(r".{0,200}(?:\b(?:i|we) (?:get|got|receive)|says|writes|收到|回我|erhalte|reçu|recib).{0,100}:\s*$")

# The pieces of which people make an out-of-office text: one alone is what anybody writes.
THANKS = re.compile(
    r"(?:(?:hello|hi),? (?:and )?)?(?:many |with )?(?:thank you|thanks)(?: very much| so much)? for (?:your|the"
    r"|contacting|writing|e-?mailing|getting|reaching)"
    r"|i (?:have )?received your (?:e-?mail|message|mail)|your (?:e-?mail|message|mail)(?: [^.]{1,40})? (?:has been"
    r"|was) received"
    r"|(?:vielen|besten|herzlichen)? ?dank für ihre (?:nachricht|e-?mail|mail|anfrage|kontakt)"
    r"|ich habe ihre (?:nachricht|e-?mail)"
    r"|(?:merci|je vous remercie|nous vous remercions)[^.]{0,30} votre (?:message|e-?mail|mail|courriel)"
    r"|j'ai bien reçu"
    r"|(?:muchas )?gracias por (?:su|tu|el) (?:correo|mensaje|e-?mail|mail)|grazie per (?:il|la|avermi|averci|l)"
    r"|obrigad[oa] pel[oa]|(?:agradeço|agradecemos) (?:o|a) (?:seu|sua|contato|contacto)"
    r"|(?:hartelijk )?(?:bedankt|dank) voor (?:uw|je|het) (?:e-?mail|mail|bericht)|tack för (?:ditt|din|ert)"
    r"|tak for (?:din|deres)"
    r"|takk for (?:din|e-?post|hen)|kiitos (?:viesti|sähköposti)|dziękuj[ęe](?:my)? za (?:wiadomość|e-?mail|kontakt"
    r"|przesłan)"
    r"|děkuji (?:vám )?za|спасибо за|благодар[а-я]{1,6} (?:вас )?за|köszönöm|e-?postanız için teşekkür"
    r"|(?:非常)?(?:[感谢謝]{2})(?:您|你)?的?(?:來信|来信|來函|來電郵|郵件|邮件|mail|e-?mail|來訊|联系|聯繫)|(?:已"
    r"|有)收到(?:您|你)的?(?:來信|来信|郵件|邮件)"
    r"|(?:您|你)的?(?:來信|来信|郵件|邮件)(?:我)?(?:們|们)?(?:已|均已|有)?(?:經|经)?(?:收到|收悉)|(?:お問い合わせ"
    r"|ご連絡|メール)[^。]{0,12}(?:ありがとう|いただき|頂き)"
)
AWAY = re.compile(
    r"(?:please (?:note|be (?:aware|advised)) that |unfortunately,? |currently,? |at the moment,? |at present,? "
    r"|just to let you know,? "
    r"|kindly note that )?(?:i am|i'm|i will be|i'll be|i shall be|we are|we're|our offices? (?:is|are|will be)"
    r"|the offices? (?:is|are|will be)|[a-z]{2,20} (?:[a-z-]{2,20} )?is) (?:currently |presently |now |still "
    r"|temporarily "
    r"|also |unfortunately )?(?:out of|ooo|away|on [a-z ]{0,30}(?:leave|vacation|holidays?|trip|travel|pto)|travel+ing"
    r"|not (?:in (?:the )?office|available|at work|able|working|reachable)|unavailable|attending|closed"
    r"|no longer (?:with|working))"
    r"|out of (?:the )?office|i (?:have|no longer) (?:left|work)"
    r"|(?:leider )?(?:ich )?(?:bin|befinde)(?: ich| mich)?[^.]{0,60}(?:urlaub|abwesend|nicht im (?:büro|hause?)"
    r"|außer haus|dienstreise"
    r"|elternzeit|mutterschutz|nicht erreichbar|krank|unterwegs|außerhalb)|(?:zur zeit|derzeit|aktuell|momentan"
    r"|vom) [^.]{0,60}"
    r"(?:urlaub|abwesend|nicht im (?:büro|haus)|außer haus|nicht erreichbar|geschlossen)"
    r"|(?:actuellement|je (?:suis|serai)|nous sommes|notre bureau)[^.]{0,60}(?:absent|congé|vacances|déplacement"
    r"|indisponible|fermé|bureau)"
    r"|(?:me encuentro|estoy|estaré|actualmente|estamos)[^.]{0,60}(?:vacaciones|fuera|ausente|viaje|permiso|baja"
    r"|cerrad)"
    r"|(?:sono|sarò|mi trovo|attualmente|al momento)[^.]{0,60}(?:ferie|fuori|assente|trasferta|vacanza|chius)"
    r"|(?:estou|estarei|encontro-me|atualmente)[^.]{0,60}(?:férias|ausente|fora|viagem|licença)"
    r"|(?:ik ben|wij zijn|momenteel|op dit moment)[^.]{0,60}(?:afwezig|vakantie|niet (?:aanwezig|op kantoor"
    r"|bereikbaar)|verlof|gesloten)"
    r"|(?:jag är|hej! jag är|jeg er|jeg holder|kontoret er)[^.]{0,60}(?:semester|ferie|bortrest|ledig|frånvarande"
    r"|tjänsteresa|fravær|ikke (?:på|til)|orlov|permisjon)"
    r"|olen[^.]{0,40}(?:lomalla|poissa|matkoilla)|(?:jestem|przebywam|obecnie|w dniach)[^.]{0,60}(?:urlop|nieobecn"
    r"|poza biurem|delegacj)"
    r"|(?:jsem|budu|momentálně|som)[^.]{0,50}(?:dovolen|mimo kancel|nepřítom|služební|neprítom)"
    r"|(?:я )?(?:нахожусь|в настоящее время|сейчас|буду|я)[^.]{0,50}(?:отпуск|отсутств|командировк|вне офиса)"
    r"|szabadságon|(?:jelenleg )?[^.]{0,20}(?:szabadságon|házon kívül)|(?:şu anda|yıllık)[^.]{0,40}(?:izin|dışında)"
    r"|(?:(?:本人|我|敝人|小弟|因)?[^,。?]{0,24})(?:休[假年]|請假|请假|出差|不在(?:辦公|办公|公司|座位|國內|国内)"
    r"|外出|年假|特休|產假|产假|育嬰|陪產|出國|出国|離職|离职|度假|放假|病假)"
    r"|(?:[^。?]{0,40})(?:不在に|不在と|休暇|休業|出張|お休み|産休|育休|退職)|[^.]{0,30}(?:휴가|부재|출장)"
)
RETURNING = re.compile(
    r"[^.?]{0,80}?(?:(?:will|'ll|shall)[^.?]{0,40}? (?:return(?:ing)?|respond|reply|get back|answer|be back"
    r"|not be (?:checking|reading|forwarded|able)|contact you"
    r"|read)|returning|limited access|no access|intermittent|sporadic|delay(?:ed)? in|not (?:be |been )?forwarded"
    r"|back (?:in the office |at work )?on"
    r"|upon my return|on my return|when i(?:'m| am)? (?:return|back|get back)|as soon as (?:i|possible)|infrequent"
    r"|not (?:check|read)ing)"
    r"|[^.?]{0,80}(?:werde ich|nach meiner rückkehr|wieder (?:erreichbar|im büro|da|zurück)|nicht weitergeleitet"
    r"|nicht gelesen|keinen zugriff|zurückkehren"
    r"|baldmöglichst|à mon retour|de retour|dès mon retour|accès limité|a mi regreso|a mi vuelta|de vuelta|regresaré"
    r"|volveré|responderé|acceso limitado"
    r"|al mio (?:rientro|ritorno)|rientrerò|risponderò|tornerò|ao (?:meu )?regress|quando (?:voltar|regressar)"
    r"|retorno|bij terugkomst|na mijn (?:terugkeer|vakantie)"
    r"|niet doorgestuurd|weer (?:aanwezig|bereikbaar|terug)|är tillbaka|åter|tilbage|tilbake|palaan|po powrocie"
    r"|wracam|odpowiem|po návratu|vrátím|odpovím"
    r"|вернусь|отвечу|по возвращении|visszatér|döneceğim|döndüğümde)"
    r"|[^。?]{0,60}?(?:無法(?:即時|立即|及時|馬上|隨時|立刻)?[^。]{0,6}(?:回|收|處理|接)|无法(?:及时|立即|即时"
    r"|马上)?[^。]{0,6}(?:回|收|处理|接)|(?:返回|回來|回来|回國|回国|銷假|收假|上班|假期[结結]束|恢復|恢复|"
    r"回到)[^。]{0,20}(?:回[覆复復信]|處理|处理|聯[絡繫]|联系|公司|辦公|办公|上班|$)|(?:延遲|延迟|延誤|稍慢|較慢"
    r"|较慢)|不便(?:之處|之处)|[盡尽儘]快|再(?:行)?(?:回[覆复]|處理|处理))"
    r"|[^。?]{0,60}?(?:戻り次第|復帰|出社|戻り|ご返信|返信が?(?:遅|でき)|ご連絡(?:いた|させ|申)|確認が(?:遅|でき)"
    r"|ご迷惑)|[^.]{0,40}(?:복귀|답변)"
)
CONTACT = re.compile(
    r"[^.?]{0,80}?(?:urgent|immediate|emergenc|urgenc|in my absence|during (?:my|this)|while i am|in the meantime"
    r"|need[^.?]{0,30}(?:assistance|help)|asap|alternatively"
    r"|for (?:all|any|other|general|further|new)[^.?]{0,20} (?:enquir|inquir|question|matter|request|issue"
    r"|correspond))"
    r"[^?]{0,120}?(?:contact|call|e-?mail|reach|write|phone|dial|speak|@|\d{3}|assist)|(?:please |kindly )?(?:contact"
    r"|reach out to|call|direct)[^.?]{0,80}"
    r"(?:urgent|immediate|instead|in my (?:absence|place)|meantime|assistance|emergenc)"
    r"|[^.?]{0,80}?(?:dringend|eilig|notfäll|vertretung|in meiner abwesenheit|vertritt mich|en cas d'urgence"
    r"|pour toute (?:urgence|demande|question)|en mon absence"
    r"|urgence|urgente|urgencia|urgenz|em caso de urg|urgência|dringende|spoed|bij afwezigheid|brådskande|akut"
    r"|hast(?:e|er)|kiireelli|w (?:pilnych|nagłych)|w sprawach"
    r"|v naléhav|naléhavé|срочн|sürgős|acil)"
    r"|[^。?]{0,30}?(?:急事|緊急|紧急|要事|代理人|職務代理|急件|如有(?:需要|疑問|问题|任何|需)|若有|期間|期间|有事"
    r"|如需|如遇)[^。]{0,40}?(?:洽|聯[絡繫]|联系|找|[撥拨]|電|电|分機|手機|手机|信箱|[\d@])"
    r"|[^。?]{0,30}?(?:急ぎ|緊急|お急ぎ|不在中|期間中)[^。]{0,60}(?:連絡|電話|まで|[\d@])|[^.]{0,30}(?:급한|긴급)"
)
# A whole first line that only an assistant writes: Notes, vacation(1), Exchange.
AWAY_LINE = re.compile(
    r"i will be out of the office starting .{4,30} and will not return until .{4,30}$"
    r"|i am out of the office until [0-9/. -]{6,12}\.?$|i will not be reading my mail for a while"
    r"|your (?:mail|message) (?:concerning|regarding|about) .{0,200}will be read when"
)
